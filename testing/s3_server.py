"""A server that speaks S3, with one bucket named `bucket`, until its stdin ends.
It prints its address. For each line of its stdin, it cuts the object that has this
text within the text, and says so.
"""

import logging
import sys

import boto3
from moto.moto_server.threaded_moto_server import ThreadedMotoServer

logging.getLogger("werkzeug").setLevel(logging.ERROR)
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
host, port = server.get_host_and_port()
address = f"http://{host}:{port}"
client = boto3.client(
    "s3",
    endpoint_url=address,
    region_name="us-east-1",
    aws_access_key_id="key",
    aws_secret_access_key="secret",
)
client.create_bucket(Bucket="bucket")
print(address, flush=True)
for text in map(str.strip, sys.stdin):
    for entry in client.list_objects_v2(Bucket="bucket")["Contents"]:
        body = client.get_object(Bucket="bucket", Key=entry["Key"])["Body"].read()
        at = body.find(text.encode())
        if at >= 0:
            client.put_object(Bucket="bucket", Key=entry["Key"], Body=body[:at])
            print("cut", entry["Key"], flush=True)
server.stop()
