-- The commands; nothing is loaded and nothing runs before one of them is typed.
if vim.g.loaded_specweave_jobs then
  return
end
vim.g.loaded_specweave_jobs = true

vim.api.nvim_create_user_command("SpecweaveJobs", function()
  require("specweave_jobs").open()
end, { desc = "Background jobs of this SpecWeave project, live" })

-- The editor would take `%` and `#` of an address for names of files if it completed files itself.
local function files(lead)
  return vim.fn.getcompletion(lead, "file")
end

vim.api.nvim_create_user_command("SpecweaveJobsClone", function(command)
  require("specweave_jobs").run(vim.list_extend({ "clone" }, command.fargs))
end, { nargs = "+", complete = files, desc = "Clone repositories in the background" })

vim.api.nvim_create_user_command("SpecweaveJobsImport", function(command)
  require("specweave_jobs").run(vim.list_extend({ "import" }, command.fargs))
end, { nargs = "*", desc = "Import issues in the background" })

vim.api.nvim_create_user_command("SpecweaveJobsSync", function(command)
  require("specweave_jobs").run(vim.list_extend({ "sync" }, command.fargs))
end, { nargs = "*", desc = "Sync with a tracker in the background" })
