"""A stock Python client that has no .proto: it learns the contract by server reflection, then lists and follows.

Usage: client.py <endpoint> <job>. Prints one JSON line each.
"""

import json
import sys

import grpc
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

endpoint, job = sys.argv[1:]
# Python's library derives `:authority` from the socket's path, which is no authority.
channel = grpc.insecure_channel(endpoint, options=[("grpc.default_authority", "localhost")])
database = ProtoReflectionDescriptorDatabase(channel)
print(json.dumps({"services": sorted(database.get_services())}))
pool = DescriptorPool(database)
service = pool.FindServiceByName("specweave.jobs.v1.JobsService")


def call(name, **fields):
    method = service.FindMethodByName(name)
    request = GetMessageClass(method.input_type)(**fields)
    kind = channel.unary_stream if method.server_streaming else channel.unary_unary
    invoke = kind(
        f"/{service.full_name}/{name}",
        request_serializer=lambda message: message.SerializeToString(),
        response_deserializer=GetMessageClass(method.output_type).FromString,
    )
    return invoke(request, timeout=20)


print(json.dumps({"list": [one.id for one in call("ListJobs").jobs]}))
last = None
for message in call("FollowJob", id=job):
    kind = message.WhichOneof("event")
    last = getattr(message, kind) if kind in ("snapshot", "changed") else last
print(json.dumps({"followed": [last.id, last.progress.current, last.progress.total]}))
