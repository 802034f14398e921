// Checks documents against the schema of Atlassian's document format that Atlassian publishes.
// node adf.mjs <documents.json>: an array of [text, document]; prints the first faults, or "ok".
import { readFileSync } from "node:fs";
import Ajv from "ajv";

const schema = JSON.parse(readFileSync(new URL("./adf-schema.json", import.meta.url)));
// Nothing that it says is particular to that draft.
delete schema.$schema;
const validate = new Ajv({ strict: false, allErrors: false }).compile(schema);
const wrong = [];
for (const [text, document] of JSON.parse(readFileSync(process.argv[2]))) {
  if (!validate(document)) {
    const { instancePath, message } = validate.errors.at(-1);
    wrong.push(`${JSON.stringify(text)}: ${instancePath} ${message}\n${JSON.stringify(document)}`);
  }
}
console.log(wrong.length ? wrong.slice(0, 5).join("\n\n") : "ok");
