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

-- Starts the program without a shell, in a folder; nothing where it cannot be started.
local function start(words, folder, options)
  if vim.fn.executable(M.program) == 0 or vim.fn.isdirectory(folder) == 0 then
    complain(M.program .. " cannot be run in " .. folder)
    return nil
  end
  options.cwd = folder
  return vim.fn.jobstart(vim.list_extend({ M.program }, words), options)
end

-- Runs the program once, in this folder or that one; what it says on standard error is told.
function M.run(words, on_end, folder)
  local said, told = {}, {}
  return start(words, folder or vim.fn.getcwd(), {
    stdout_buffered = true,
    stderr_buffered = true,
    on_stdout = function(_, lines)
      said = lines
    end,
    on_stderr = function(_, lines)
      told = lines
    end,
    on_exit = function(_, status)
      local text = vim.trim(table.concat(told, "\n"))
      if status ~= 0 then
        complain(text)
      elseif text ~= "" then
        vim.notify(text, vim.log.levels.WARN, { title = "specweave-jobs" })
      end
      if on_end then
        on_end(status, said)
      elseif status == 0 then
        vim.notify(vim.trim(table.concat(said, "\n")))
      end
    end,
  })
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
  if self.trouble then
    table.insert(lines, 1, "The list stands still: " .. board.plain(self.trouble))
    local moved = {}
    for line, id in pairs(ids) do
      moved[line + 1] = id
    end
    ids = moved
  end
  -- A cursor stays on its job, wherever that goes.
  local windows = {}
  for _, window in ipairs(vim.fn.win_findbuf(self.buffer)) do
    windows[window] = self.ids[vim.api.nvim_win_get_cursor(window)[1]]
  end
  self.ids = ids
  vim.bo[self.buffer].modifiable = true
  vim.api.nvim_buf_set_lines(self.buffer, 0, -1, false, lines)
  vim.bo[self.buffer].modifiable = false
  for line, id in pairs(ids) do
    for window, before in pairs(windows) do
      if before == id then
        vim.api.nvim_win_set_cursor(window, { line, vim.api.nvim_win_get_cursor(window)[2] })
      end
    end
  end
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
  local told = {}
  self.rest = ""
  self.watching = start({ "watch", "--json" }, self.folder, {
    on_stdout = function(_, lines)
      self.trouble = nil
      self:take(lines)
    end,
    on_stderr = function(_, lines)
      vim.list_extend(told, lines)
    end,
    on_exit = function(_, status)
      self.watching = nil
      if not vim.api.nvim_buf_is_valid(self.buffer) then
        return
      end
      -- It goes on over every restart of the daemon: where it has ended, something is wrong, and may pass.
      local text = vim.trim(table.concat(told, " "))
      self.trouble = text ~= "" and text or ("watch has ended with status " .. status)
      self:draw()
      vim.defer_fn(function()
        if vim.api.nvim_buf_is_valid(self.buffer) and not self.watching then
          self:watch()
        end
      end, 5000)
    end,
  })
end

function View:job()
  return self.ids[vim.api.nvim_win_get_cursor(0)[1]]
end

-- Opens the live list. Keys: <CR> details, l log, x stop, r go on, d remove, q close.
function M.open()
  if vim.fn.executable(M.program) == 0 then
    return complain(M.program .. " was not found: see :checkhealth specweave_jobs")
  end
  -- Whatever folder is gone to later, the list and its keys are of this one.
  local self = setmetatable({ jobs = {}, ids = {}, rest = "", folder = vim.fn.getcwd() }, View)
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
      local asked = "Remove job " .. board.plain(id) .. "?"
      if words[1] == "rm" and vim.fn.confirm(asked, "&Remove\n&Keep", 2) ~= 1 then
        return
      end
      -- Another tool's id may look like an option.
      M.run(vim.list_extend(vim.deepcopy(words), { "--", id }), function(status, said)
        if show and status == 0 then
          scratch("specweave-jobs " .. words[1] .. " " .. board.plain(id), said)
        end
      end, self.folder)
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
  self:watch()
  self:draw()
  return self
end

return M
