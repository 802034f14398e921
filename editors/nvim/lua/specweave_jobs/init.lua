-- The jobs of a project in a buffer that stays as they are: it reads `specweave-jobs watch --json`, and never starts a daemon.
local board = require("specweave_jobs.board")

local M = { program = "specweave-jobs" }

-- `setup({ program = "/path/to/specweave-jobs" })`
function M.setup(options)
  M.program = (options or {}).program or M.program
end

local function complain(text)
  vim.notify(vim.trim(text), vim.log.levels.ERROR, { title = "specweave-jobs" })
end

-- Runs the program once, without a shell; what it says on standard error is told when it fails.
function M.run(words, on_end)
  local said, told = {}, {}
  local id = vim.fn.jobstart(vim.list_extend({ M.program }, words), {
    stdout_buffered = true,
    stderr_buffered = true,
    on_stdout = function(_, lines)
      said = lines
    end,
    on_stderr = function(_, lines)
      told = lines
    end,
    on_exit = function(_, status)
      if status ~= 0 then
        complain(table.concat(told, "\n"))
      end
      if on_end then
        on_end(status, said)
      elseif status == 0 then
        vim.notify(vim.trim(table.concat(said, "\n")))
      end
    end,
  })
  if id <= 0 then
    complain(M.program .. " cannot be run")
  end
  return id
end

-- A buffer for text that is only read.
local function scratch(name, lines)
  local buffer = vim.api.nvim_create_buf(false, true)
  pcall(vim.api.nvim_buf_set_name, buffer, name)
  vim.api.nvim_buf_set_lines(buffer, 0, -1, false, lines)
  vim.bo[buffer].modifiable = false
  vim.bo[buffer].bufhidden = "wipe"
  vim.api.nvim_command("botright split")
  vim.api.nvim_win_set_buf(0, buffer)
  return buffer
end

local View = {}
View.__index = View

function View:draw()
  if not vim.api.nvim_buf_is_valid(self.buffer) then
    return
  end
  local lines, ids = board.lines(self.jobs)
  self.ids = ids
  vim.bo[self.buffer].modifiable = true
  vim.api.nvim_buf_set_lines(self.buffer, 0, -1, false, lines)
  vim.bo[self.buffer].modifiable = false
end

-- Draws at most so often, whatever comes meanwhile.
function View:draw_soon()
  if self.is_due then
    return
  end
  self.is_due = true
  vim.defer_fn(function()
    self.is_due = false
    self:draw()
  end, 100)
end

function View:take(lines)
  -- The first piece goes on with the line that was not whole yet.
  lines[1] = self.rest .. lines[1]
  self.rest = table.remove(lines)
  for _, line in ipairs(lines) do
    local is_whole, message = pcall(vim.json and vim.json.decode or vim.fn.json_decode, line)
    if is_whole and type(message) == "table" then
      self.jobs = board.apply(self.jobs, message)
    end
  end
  self:draw_soon()
end

function View:watch()
  self.watching = vim.fn.jobstart({ M.program, "watch", "--json" }, {
    on_stdout = function(_, lines)
      self:take(lines)
    end,
    on_exit = function()
      self.watching = nil
    end,
  })
  if self.watching <= 0 then
    complain(M.program .. " cannot be run")
  end
end

function View:job()
  return self.ids[vim.api.nvim_win_get_cursor(0)[1]]
end

-- Opens the live list. Keys: <CR> details, l log, x stop, r go on, d remove, q close.
function M.open()
  local self = setmetatable({ jobs = {}, ids = {}, rest = "" }, View)
  self.buffer = vim.api.nvim_create_buf(false, true)
  vim.bo[self.buffer].filetype = "specweave-jobs"
  vim.bo[self.buffer].bufhidden = "wipe"
  vim.api.nvim_command("botright split")
  vim.api.nvim_win_set_buf(0, self.buffer)
  local function key(lhs, run)
    vim.keymap.set("n", lhs, run, { buffer = self.buffer, nowait = true, silent = true })
  end
  local function on_job(words, show)
    return function()
      local id = self:job()
      if not id then
        return
      end
      M.run(vim.list_extend(vim.deepcopy(words), { id }), function(status, said)
        if show and status == 0 then
          scratch("specweave-jobs " .. words[1] .. " " .. id, said)
        end
      end)
    end
  end
  key("<CR>", on_job({ "show" }, true))
  key("l", on_job({ "logs", "-n", "500" }, true))
  key("x", on_job({ "kill" }))
  key("r", on_job({ "resume" }))
  key("d", on_job({ "rm" }))
  key("q", function()
    vim.api.nvim_buf_delete(self.buffer, { force = true })
  end)
  vim.api.nvim_create_autocmd("BufWipeout", {
    buffer = self.buffer,
    callback = function()
      if self.watching then
        vim.fn.jobstop(self.watching)
      end
    end,
  })
  -- Without a daemon the stream is silent: what stands in the files is shown first.
  M.run({ "list", "--all", "--json" }, function(status, said)
    local is_whole, listed = pcall(vim.fn.json_decode, table.concat(said, "\n"))
    if status == 0 and is_whole then
      self.jobs = board.apply(self.jobs, { event = { snapshot = listed } })
      self:draw()
    end
    if vim.api.nvim_buf_is_valid(self.buffer) then
      self:watch()
    end
  end)
  self:draw()
  return self
end

return M
