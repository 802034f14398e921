// Leads requests for GitHub's API to the tests' server: SpecWeave knows no other address of it.
"use strict";

const asked = globalThis.fetch;
if (asked && process.env.GITHUB_API_URL) {
  globalThis.fetch = (address, options) =>
    asked(String(address).replace("https://api.github.com", process.env.GITHUB_API_URL), options);
}
