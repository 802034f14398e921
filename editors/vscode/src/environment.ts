// Which variables of the editor's environment travel with a job: the lists of the command line (proto/environment.rs), which a test
// compares. The daemon keeps them in memory, and takes no other.
export const NAMES = [
  "GITHUB_API_URL", "AZURE_DEVOPS_ORG_URL", "AZURE_DEVOPS_ORG", "AZURE_DEVOPS_PROJECT", "AZURE_DEVOPS_PROJECTS", "JIRA_DOMAIN",
  "JIRA_HOST", "JIRA_PROJECT_KEY", "SSL_CERT_FILE", "SSL_CERT_DIR", "HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "NO_PROXY",
  "GITHUB_TOKEN", "GH_TOKEN", "AZURE_DEVOPS_PAT", "ADO_PAT", "AZURE_DEVOPS_TOKEN", "JIRA_EMAIL", "JIRA_API_TOKEN", "GITLAB_HOST",
  "GITLAB_TOKEN", "GITEA_SERVER_URL", "GITEA_SERVER_TOKEN", "GITEA_TOKEN", "BITBUCKET_API_URL", "BITBUCKET_USERNAME", "BITBUCKET_TOKEN",
  "HOME", "PATH", "SSH_AUTH_SOCK", "SSH_ASKPASS", "SSH_ASKPASS_REQUIRE", "XDG_CONFIG_HOME", "GH_CONFIG_DIR", "DISPLAY",
  "WAYLAND_DISPLAY", "DBUS_SESSION_BUS_ADDRESS",
];

/** Of git's variables all travel but these: they are about one repository, or write what git does into files. */
export const NOT_FOR_GIT = [
  "GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_COMMON_DIR",
  "GIT_NAMESPACE", "GIT_PREFIX", "GIT_QUARANTINE_PATH", "GIT_INTERNAL_", "GIT_TRACE", "GIT_CURL_VERBOSE", "GIT_REDIRECT_",
];

export interface Variable {
  name: string;
  value: string;
}

export function carried(environment: NodeJS.ProcessEnv): Variable[] {
  const isGits = (name: string) => name.startsWith("GIT_") && !NOT_FOR_GIT.some((other) => name.startsWith(other));
  return [...NAMES, ...Object.keys(environment).filter(isGits)].flatMap((name) => {
    const value = environment[name] ?? (name.endsWith("_PROXY") ? environment[name.toLowerCase()] : undefined);
    return value ? [{ name, value }] : [];
  });
}

export function hasGitHubToken(variables: Variable[]): boolean {
  return variables.some(({ name }) => name === "GITHUB_TOKEN" || name === "GH_TOKEN");
}
