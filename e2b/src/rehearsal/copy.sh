# Unpacks an archive and puts its source ($1) at its destination ($2), owned by
# $3, with the permissions $4 if any: a directory is merged, a file is renamed,
# or goes inside when the destination ends with a slash.
set -eu
case "$3" in *:*) owner=$3 ;; *) owner="$3:$3" ;; esac
mkdir /tmp/unpack
tar -xzf /run/rehearsal/archive.tar.gz -C /tmp/unpack
entry="/tmp/unpack/$1"
chown -R "$owner" "$entry"
[ -z "$4" ] || chmod -R "$4" "$entry"
if [ -d "$entry" ]; then
    mkdir -p "$2"
    cp -a "$entry/." "$2/"
else
    case "$2" in
    */) mkdir -p "$2" ;;
    *) mkdir -p "$(dirname "$2")" ;;
    esac
    mv "$entry" "$2"
fi
