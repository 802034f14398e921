-- nvim --headless --clean -S test/run.lua, in a project: the list is live, stops and resumes a job, and :checkhealth works.
-- SPECWEAVE_JOBS_TEST_SOURCES are repositories of which one is silent; SPECWEAVE_JOBS_TEST_HEAL is made to heal it.
local ok, problem = pcall(function()
  vim.opt.runtimepath:append(vim.env.SPECWEAVE_JOBS_TEST_PLUGIN)
  vim.cmd("runtime plugin/specweave_jobs.lua")
  local board = require("specweave_jobs.board")
  assert(board.plain("a\226\128\174b\27[31m") == "a·b·[31m", board.plain("a\226\128\174b\27[31m"))

  local strange = board.lines({ { id = "a\nb", state = "from a later release", type_name = "x" } })
  assert(strange[1] == "unknown (1)" and strange[2] == "  a·b  x  ", vim.inspect(strange))

  vim.cmd("SpecweaveJobs")
  local buffer = vim.api.nvim_get_current_buf()
  local window = vim.api.nvim_get_current_win()
  local function text()
    return table.concat(vim.api.nvim_buf_get_lines(buffer, 0, -1, false), "\n")
  end
  local function wait(what, fits)
    assert(vim.wait(20000, fits, 20), what .. ":\n" .. text())
  end
  wait("an empty project says what there is to do", function()
    return text():find("No job has run here yet", 1, true) ~= nil
  end)
  vim.cmd("SpecweaveJobsClone " .. vim.env.SPECWEAVE_JOBS_TEST_SOURCES)
  wait("the job is shown as it goes", function()
    return text():find("2/3 (67%)", 1, true) ~= nil
  end)
  local function press(key)
    vim.api.nvim_set_current_win(window)
    vim.api.nvim_win_set_cursor(window, { 2, 0 })
    vim.api.nvim_feedkeys(key, "xt", false)
  end
  press("x")
  wait("it is paused", function()
    return text():find("^paused %(1%)") ~= nil
  end)
  vim.fn.writefile({}, vim.env.SPECWEAVE_JOBS_TEST_HEAL)
  vim.wait(300, function() return false end)
  press("r")
  wait("it is completed", function()
    return text():find("^completed %(1%)") ~= nil
  end)
  press("l")
  wait("its log is shown", function()
    return table.concat(vim.api.nvim_buf_get_lines(0, 0, -1, false), "\n"):find("CLONE JOB SUMMARY", 1, true) ~= nil
  end)
  vim.cmd("checkhealth specweave_jobs")
  local health = table.concat(vim.api.nvim_buf_get_lines(0, 0, -1, false), "\n")
  assert(health:find("handshake", 1, true), health)
end)
io.stdout:write(ok and "PASS\n" or ("FAIL " .. tostring(problem) .. "\n"))
vim.cmd(ok and "qall!" or "cquit!")
