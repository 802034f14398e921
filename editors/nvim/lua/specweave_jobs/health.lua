-- :checkhealth specweave_jobs
local M = {}

local health = vim.health or require("health")
local start = health.start or health.report_start
local ok = health.ok or health.report_ok
local warn = health.warn or health.report_warn
local wrong = health.error or health.report_error

function M.check()
  start("specweave-jobs")
  local program = require("specweave_jobs").program
  if vim.fn.executable(program) == 0 then
    wrong(program .. " was not found", { "Install it, or: require('specweave_jobs').setup({ program = '/path/to/specweave-jobs' })" })
    return
  end
  ok(vim.trim(vim.fn.system({ program, "--version" })))
  local said = {}
  local id = vim.fn.jobstart({ program, "doctor", "--json" }, {
    stdout_buffered = true,
    on_stdout = function(_, lines)
      said = lines
    end,
  })
  vim.fn.jobwait({ id }, 30000)
  local is_whole, told = pcall(vim.fn.json_decode, table.concat(said, "\n"))
  if not is_whole or type(told) ~= "table" then
    wrong("doctor gave no answer that can be read", { "specweave-jobs doctor" })
    return
  end
  if not told.findings then
    local trouble = told.error or {}
    warn(trouble.message or "doctor found nothing to look at", { trouble.hint or "specweave-jobs init" })
    return
  end
  for _, finding in ipairs(told.findings) do
    local text = finding.check .. ": " .. finding.detail
    if finding.verdict == "wrong" then
      wrong(text, { finding.fix or "specweave-jobs doctor" })
    elseif finding.verdict == "note" then
      warn(text, { finding.fix or "nothing has to be done" })
    else
      ok(text)
    end
  end
end

return M
