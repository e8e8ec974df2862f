# Starts the server as user $1 in directory $2 by command $3, waits until $4
# succeeds, runs the turn $5 against it if there is one, with its address $6,
# and ends it. $variables holds the template's environment.
set -u
as_user() {
    cd "$2" && exec setpriv --reuid "$1" --regid "$1" --init-groups \
        env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
        HOME="/home/$1" USER="$1" LOGNAME="$1" "${variables[@]}" RELAY_URL="$4" \
        /bin/bash -l -c "$3"
}
(as_user "$1" "$2" "$3" "") &
server=$!
give_up=$((SECONDS + 600))
until (as_user "$1" "$2" "$4" ""); do
    if ! kill -0 "$server" 2>/dev/null; then
        wait "$server"
        echo "the start command ended with status $? before it was ready"
        exit 1
    fi
    if [ "$SECONDS" -ge "$give_up" ]; then
        echo "the ready check did not succeed within ten minutes"
        exit 1
    fi
    sleep 2
done
echo "ready"
if [ -n "$5" ]; then
    if ! (as_user "$1" "$2" "$5" "$6"); then
        echo "the turn failed"
        exit 1
    fi
fi
kill -TERM "$server"
wait "$server"
status=$?
echo "the server ended with status $status when it was asked to"
exit "$status"
