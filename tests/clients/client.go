// A stock Go client with generated code takes every call of the contract that an editor needs. Prints one JSON line for each.
//
//	client begin <specweave-jobs> <source>...   up to a job that was killed, over a crash and a stop of the daemon
//	client end <specweave-jobs> <job>           resumes it, follows it to its end, and removes it
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	jobs "jobs/specweave/jobs/v1"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
)

func check(err error) {
	if err != nil {
		panic(err)
	}
}

func say(what string, value any) {
	line, err := json.Marshal(map[string]any{what: value})
	check(err)
	fmt.Println(string(line))
}

// reason is what the contract calls an error.
func reason(err error) string {
	for _, detail := range status.Convert(err).Details() {
		if info, ok := detail.(*errdetails.ErrorInfo); ok {
			return info.Reason
		}
	}
	return status.Code(err).String()
}

func within() context.Context {
	context, _ := context.WithTimeout(context.Background(), 20*time.Second)
	return context
}

// connect starts the daemon if none runs.
func connect(program string) (jobs.JobsServiceClient, int) {
	var place struct {
		Endpoint string
		Pid      int
	}
	said, err := exec.Command(program, "endpoint", "--start").Output()
	check(err)
	check(json.Unmarshal(said, &place))
	connection, err := grpc.NewClient(place.Endpoint, grpc.WithTransportCredentials(insecure.NewCredentials()))
	check(err)
	return jobs.NewJobsServiceClient(connection), place.Pid
}

func follow(client jobs.JobsServiceClient, request *jobs.FollowJobRequest) jobs.JobsService_FollowJobClient {
	stream, err := client.FollowJob(within(), request)
	check(err)
	return stream
}

// state is what a message of a stream says of the job; nil for a heartbeat.
func state(message *jobs.FollowJobResponse) *jobs.Job {
	if snapshot := message.GetSnapshot(); snapshot != nil {
		return snapshot
	}
	return message.GetChanged()
}

// broken reads a stream to the error that ends it.
func broken(stream jobs.JobsService_FollowJobClient) error {
	for {
		if _, err := stream.Recv(); err != nil {
			return err
		}
	}
}

func begin(program string, sources []string) {
	client, pid := connect(program)
	start := &jobs.StartJobRequest{
		Spec:      &jobs.JobSpec{Work: &jobs.JobSpec_Clone{Clone: &jobs.CloneSpec{Sources: sources}}},
		RequestId: "walk",
	}
	started, err := client.StartJob(within(), start)
	check(err)
	again, err := client.StartJob(within(), start)
	check(err)
	id := started.Job.Id
	say("started", []any{started.Job.TypeName, again.Job.Id == id})

	watch, err := client.WatchJobs(within(), &jobs.WatchJobsRequest{})
	check(err)
	first, err := watch.Recv()
	check(err)
	say("watched", first.GetSnapshot().Jobs[0].Id == id)

	stream := follow(client, &jobs.FollowJobRequest{Id: id})
	var seen *jobs.FollowJobResponse
	for {
		message, err := stream.Recv()
		check(err)
		if job := state(message); job != nil && job.Progress.Current == uint64(len(sources)-1) {
			seen = message
			break
		}
	}
	say("followed", state(seen).Progress.Current)
	got, err := client.GetJob(within(), &jobs.GetJobRequest{Id: id[:4], ItemPageSize: 10})
	check(err)
	listed, err := client.ListJobs(within(), &jobs.ListJobsRequest{})
	check(err)
	say("got", []any{got.Job.Id == id, len(got.Items), len(listed.Jobs)})

	check(syscall.Kill(pid, syscall.SIGKILL))
	say("crashed", status.Code(broken(stream)) == codes.Unavailable)
	client, _ = connect(program)
	stream = follow(client, &jobs.FollowJobRequest{Id: id, Epoch: seen.Epoch, SinceRevision: seen.Revision})
	message, err := stream.Recv()
	check(err)
	say("again", []any{message.Epoch != seen.Epoch, state(message).Progress.Current})

	check(exec.Command(program, "daemon", "stop").Run())
	say("stopped", reason(broken(stream)))
	client, _ = connect(program)
	message, err = follow(client, &jobs.FollowJobRequest{Id: id}).Recv()
	check(err)
	say("and again", state(message).Progress.Current)

	logged, err := client.TailLog(within(), &jobs.TailLogRequest{Id: id})
	check(err)
	var log bytes.Buffer
	for {
		part, err := logged.Recv()
		if err == io.EOF {
			break
		}
		check(err)
		log.Write(part.Chunk)
	}
	say("logged", strings.Contains(log.String(), "repo-000"))

	killed, err := client.KillJob(within(), &jobs.KillJobRequest{Id: id})
	check(err)
	say("killed", []any{killed.Job.State == jobs.JobState_JOB_STATE_PAUSED, id})
}

func end(program, id string) {
	client, _ := connect(program)
	_, err := client.ResumeJob(within(), &jobs.ResumeJobRequest{Id: id})
	check(err)
	stream := follow(client, &jobs.FollowJobRequest{Id: id})
	var last *jobs.Job
	for {
		message, err := stream.Recv()
		if err == io.EOF {
			break
		}
		check(err)
		if job := state(message); job != nil {
			last = job
		}
	}
	say("ended", []any{last.State == jobs.JobState_JOB_STATE_COMPLETED, last.Progress.Current})

	_, missing := client.GetJob(within(), &jobs.GetJobRequest{Id: "ffffffff"})
	_, empty := client.StartJob(within(), &jobs.StartJobRequest{})
	_, kill := client.KillJob(within(), &jobs.KillJobRequest{Id: id})
	_, resume := client.ResumeJob(within(), &jobs.ResumeJobRequest{Id: id})
	_, conflict := client.GetConflict(within(), &jobs.GetConflictRequest{Story: "US-001"})
	say("refused", []string{reason(missing), reason(empty), reason(kill), reason(resume), reason(conflict)})

	conflicts, err := client.ListConflicts(within(), &jobs.ListConflictsRequest{})
	check(err)
	_, err = client.RemoveJob(within(), &jobs.RemoveJobRequest{Id: id})
	check(err)
	listed, err := client.ListJobs(within(), &jobs.ListJobsRequest{})
	check(err)
	say("left", []int{len(conflicts.Conflicts), len(listed.Jobs)})
}

func main() {
	switch os.Args[1] {
	case "begin":
		begin(os.Args[2], os.Args[3:])
	case "end":
		end(os.Args[2], os.Args[3])
	}
}
