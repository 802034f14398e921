-- What is shown of jobs: lines of text, and which job stands in which. Pure: no editor, so that it is tested as it is.
local M = {}

-- Names come from remotes: control characters and marks that turn the direction of writing do no harm.
function M.plain(text)
  text = tostring(text or ""):gsub("%c", "·")
  return (text:gsub("\226\128[\142\143\170-\174]", "·"):gsub("\226\129[\166-\169]", "·"))
end

local ORDER = { "running", "pending", "paused", "scheduled", "failed", "completed_with_warnings", "completed", "unknown" }
local KNOWN = {}
for _, state in ipairs(ORDER) do
  KNOWN[state] = true
end

local function known(value)
  return value ~= nil and value ~= vim.NIL
end

-- Takes a message of `watch --json` into the table of jobs by id.
function M.apply(jobs, message)
  local event = message.event
  if not known(event) then
    return jobs
  end
  if event.snapshot then
    jobs = {}
  end
  for _, job in ipairs((event.snapshot or event.changed or {}).jobs or {}) do
    jobs[job.id] = job
  end
  for _, id in ipairs((event.changed or {}).removed_ids or {}) do
    jobs[id] = nil
  end
  return jobs
end

-- `12/245 (5%)  web  2.1/s`, or why the job does not run.
function M.detail(job)
  local progress = known(job.progress) and job.progress or {}
  local counts = ""
  if (progress.total or 0) > 0 then
    counts = string.format("%d/%d (%d%%)", progress.current, progress.total, progress.percentage)
  end
  if job.state == "failed" then
    return M.plain(known(job.failure) and job.failure.message or "")
  elseif job.state == "completed_with_warnings" then
    return M.plain(job.warning)
  elseif job.state == "paused" then
    return counts .. "  " .. M.plain(known(job.pause) and job.pause.message or "")
  elseif job.state == "running" then
    local active = known(progress.active) and progress.active[1]
    local at = M.plain(active and active.name or progress.current_item)
    local rate = (progress.rate or 0) > 0 and string.format("%.1f/s", progress.rate) or ""
    return vim.trim(table.concat({ counts ~= "" and counts or (progress.phase or ""), at, rate }, "  "))
  end
  return counts
end

-- The lines of the view, and the id of the job in each.
function M.lines(jobs)
  local lines, ids = {}, {}
  for _, state in ipairs(ORDER) do
    local of_state = {}
    for _, job in pairs(jobs) do
      if (KNOWN[job.state] and job.state or "unknown") == state then
        table.insert(of_state, job)
      end
    end
    table.sort(of_state, function(one, other)
      if one.started_at ~= other.started_at then
        return tostring(one.started_at) > tostring(other.started_at)
      end
      return one.id < other.id
    end)
    if #of_state > 0 then
      table.insert(lines, string.format("%s (%d)", (state:gsub("_", " ")), #of_state))
      for _, job in ipairs(of_state) do
        local title = M.plain((job.title or "") ~= "" and job.title or job.type_name)
        table.insert(lines, string.format("  %s  %s  %s", M.plain(job.id), title, M.detail(job)))
        ids[#lines] = job.id
      end
    end
  end
  if #lines == 0 then
    lines = { "No job has run here yet. :SpecweaveJobsClone, :SpecweaveJobsImport, :SpecweaveJobsSync" }
  end
  return lines, ids
end

return M
