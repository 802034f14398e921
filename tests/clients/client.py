"""A stock Python client that has no .proto: it learns the contract by server reflection, and takes every call that an
editor needs. Prints one JSON line for each.

client.py begin <specweave-jobs> <source>...   up to a job that was killed, over a crash and a stop of the daemon
client.py end <specweave-jobs> <job>           resumes it, follows it to its end, and removes it
"""

import json
import os
import signal
import subprocess
import sys

import grpc
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from google.rpc.error_details_pb2 import ErrorInfo
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from grpc_status import rpc_status

part, program, *rest = sys.argv[1:]


def say(what, value):
    print(json.dumps({what: value}), flush=True)


class Client:
    """Starts the daemon if none runs."""

    def __init__(self):
        place = json.loads(subprocess.check_output([program, "endpoint", "--start"]))
        self.pid = place["pid"]
        # Python's library derives `:authority` from the socket's path, which is no authority. And connections are shared by
        # address, which is the next daemon's, too: a client of its own is not given the last one's.
        options = [("grpc.default_authority", "localhost"), ("grpc.use_local_subchannel_pool", 1)]
        self.channel = grpc.insecure_channel(place["endpoint"], options=options)
        self.pool = DescriptorPool(ProtoReflectionDescriptorDatabase(self.channel))
        self.service = self.pool.FindServiceByName("specweave.jobs.v1.JobsService")

    def call(self, name, **fields):
        method = self.service.FindMethodByName(name)
        request = GetMessageClass(method.input_type)(**fields)
        kind = self.channel.unary_stream if method.server_streaming else self.channel.unary_unary
        invoke = kind(
            f"/{self.service.full_name}/{name}",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=GetMessageClass(method.output_type).FromString,
        )
        return invoke(request, timeout=20)


def reason(error):
    """What the contract calls an error."""
    info = ErrorInfo()
    rpc_status.from_call(error).details[0].Unpack(info)
    return info.reason


def refused(client, name, **fields):
    try:
        client.call(name, **fields)
    except grpc.RpcError as error:
        return reason(error)


def broken(stream):
    """Reads a stream to the error that ends it."""
    try:
        for _ in stream:
            pass
    except grpc.RpcError as error:
        return error


def state(message):
    kind = message.WhichOneof("event")
    return getattr(message, kind) if kind in ("snapshot", "changed") else None


def begin(sources):
    client = Client()
    start = {"spec": {"clone": {"sources": sources}}, "request_id": "walk"}
    job = client.call("StartJob", **start).job
    say("started", [job.type_name, client.call("StartJob", **start).job.id == job.id])

    say("watched", next(client.call("WatchJobs")).snapshot.jobs[0].id == job.id)

    stream = client.call("FollowJob", id=job.id)
    seen = next(one for one in stream if state(one) and state(one).progress.current == len(sources) - 1)
    say("followed", state(seen).progress.current)
    got = client.call("GetJob", id=job.id[:4], item_page_size=10)
    say("got", [got.job.id == job.id, len(got.items), len(client.call("ListJobs").jobs)])

    os.kill(client.pid, signal.SIGKILL)
    say("crashed", broken(stream).code() == grpc.StatusCode.UNAVAILABLE)
    client = Client()
    stream = client.call("FollowJob", id=job.id, epoch=seen.epoch, since_revision=seen.revision)
    message = next(stream)
    say("again", [message.epoch != seen.epoch, state(message).progress.current])

    subprocess.run([program, "daemon", "stop"], check=True, stdout=subprocess.DEVNULL)
    say("stopped", reason(broken(stream)))
    client = Client()
    say("and again", state(next(client.call("FollowJob", id=job.id))).progress.current)
    log = b"".join(part.chunk for part in client.call("TailLog", id=job.id))
    say("logged", b"repo-000" in log)

    killed = client.call("KillJob", id=job.id).job
    paused = client.pool.FindEnumTypeByName("specweave.jobs.v1.JobState").values_by_name["JOB_STATE_PAUSED"].number
    say("killed", [killed.state == paused, job.id])


def end(job):
    client = Client()
    client.call("ResumeJob", id=job)
    last = [state(message) for message in client.call("FollowJob", id=job) if state(message)][-1]
    completed = client.pool.FindEnumTypeByName("specweave.jobs.v1.JobState").values_by_name["JOB_STATE_COMPLETED"].number
    say("ended", [last.state == completed, last.progress.current])

    say("refused", [
        refused(client, "GetJob", id="ffffffff"),
        refused(client, "StartJob"),
        refused(client, "KillJob", id=job),
        refused(client, "ResumeJob", id=job),
        refused(client, "GetConflict", story="US-001"),
    ])
    conflicts = client.call("ListConflicts").conflicts
    client.call("RemoveJob", id=job)
    say("left", [len(conflicts), len(client.call("ListJobs").jobs)])


if part == "begin":
    begin(rest)
else:
    end(rest[0])
