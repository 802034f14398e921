-- The commands; nothing is loaded and nothing runs before one of them is typed.
if vim.g.loaded_specweave_jobs then
  return
end
vim.g.loaded_specweave_jobs = true

vim.api.nvim_create_user_command("SpecweaveJobs", function()
  require("specweave_jobs").open()
end, { desc = "Background jobs of this SpecWeave project, live" })

vim.api.nvim_create_user_command("SpecweaveJobsClone", function(command)
  require("specweave_jobs").run(vim.list_extend({ "clone" }, command.fargs))
end, { nargs = "+", complete = "file", desc = "Clone repositories in the background" })

vim.api.nvim_create_user_command("SpecweaveJobsImport", function(command)
  require("specweave_jobs").run(vim.list_extend({ "import" }, command.fargs))
end, { nargs = "*", desc = "Import issues in the background" })

vim.api.nvim_create_user_command("SpecweaveJobsSync", function(command)
  require("specweave_jobs").run(vim.list_extend({ "sync" }, command.fargs))
end, { nargs = "*", desc = "Sync with a tracker in the background" })
