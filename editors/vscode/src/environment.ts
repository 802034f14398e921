// Which variables of the editor's environment travel with a job: the list of the command line (proto/environment.rs). The daemon
// keeps them in memory, and takes no other.
const NAMES = [
  "GITHUB_API_URL", "AZURE_DEVOPS_ORG_URL", "AZURE_DEVOPS_ORG", "AZURE_DEVOPS_PROJECT", "AZURE_DEVOPS_PROJECTS", "JIRA_DOMAIN",
  "JIRA_HOST", "JIRA_PROJECT_KEY", "SSL_CERT_FILE", "SSL_CERT_DIR", "GIT_SSL_CAINFO", "HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY",
  "NO_PROXY", "GITHUB_TOKEN", "GH_TOKEN", "AZURE_DEVOPS_PAT", "ADO_PAT", "AZURE_DEVOPS_TOKEN", "JIRA_EMAIL", "JIRA_API_TOKEN",
  "GITLAB_HOST", "GITLAB_TOKEN", "GITEA_SERVER_URL", "GITEA_SERVER_TOKEN", "GITEA_TOKEN", "BITBUCKET_API_URL", "BITBUCKET_USERNAME", "BITBUCKET_TOKEN",
  "HOME", "PATH", "SSH_AUTH_SOCK", "SSH_ASKPASS", "SSH_ASKPASS_REQUIRE", "XDG_CONFIG_HOME", "GH_CONFIG_DIR",
];

export interface Variable {
  name: string;
  value: string;
}

export function carried(environment: NodeJS.ProcessEnv, githubToken?: string): Variable[] {
  const found = NAMES.flatMap((name) => {
    const value = environment[name] ?? (name.endsWith("_PROXY") ? environment[name.toLowerCase()] : undefined);
    return value ? [{ name, value }] : [];
  });
  const hasToken = found.some(({ name }) => name === "GITHUB_TOKEN" || name === "GH_TOKEN");
  return githubToken && !hasToken ? [...found, { name: "GITHUB_TOKEN", value: githubToken }] : found;
}
