// A stock grpc-js client: lists, follows one job to its end, asks the health service. Prints one JSON line each.
// Usage: node client.js <endpoint> <proto folder> <job>
const grpc = require("@grpc/grpc-js");
const loader = require("@grpc/proto-loader");

const [endpoint, protos, job] = process.argv.slice(2);
const options = { includeDirs: [protos], keepCase: true, longs: Number, enums: String, defaults: true };
const load = (file) => grpc.loadPackageDefinition(loader.loadSync(file, options));
const { JobsService } = load("specweave/jobs/v1/jobs.proto").specweave.jobs.v1;
const client = new JobsService(endpoint, grpc.credentials.createInsecure());
const say = (what, value) => console.log(JSON.stringify({ [what]: value }));

client.ListJobs({}, { deadline: Date.now() + 5000 }, (error, listing) => {
  if (error) throw error;
  say("list", listing.jobs.map((one) => [one.id, one.state]));
  client.GetJob({ id: "ffffffff" }, { deadline: Date.now() + 5000 }, (missing) => {
    say("missing", [missing.code, missing.details]);
    const stream = client.FollowJob({ id: job });
    let last = null;
    stream.on("data", (message) => (last = message.snapshot || message.changed || last));
    stream.on("error", (broken) => { throw broken; });
    stream.on("end", () => {
      say("followed", [last.id, last.state, last.progress.current, last.progress.total]);
      client.close();
    });
  });
});
