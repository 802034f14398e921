# Homebrew's formula. `dist/build.sh` enters where a release's sources lie and their checksum, and leaves it in dist/out.
class SpecweaveJobs < Formula
  desc "Background jobs of a SpecWeave project: clone, import, sync"
  homepage "https://spec-weave.com"
  url "@ADDRESS@"
  sha256 "@SHA256@"
  license "MIT"

  depends_on "rust" => :build

  def install
    ENV["LIBZ_SYS_STATIC"] = "1"
    system "cargo", "install", *std_cargo_args
    generate_completions_from_executable(bin/"specweave-jobs", "completions", shells: [:bash, :zsh, :fish])
    system bin/"specweave-jobs", "man", "--install", buildpath/"man"
    man1.install Dir[buildpath/"man/man1/*"]
  end

  test do
    ENV["SPECWEAVE_JOBS_SOCKET_DIR"] = testpath/"s"
    system bin/"specweave-jobs", "init"
    system "git", "init", "--quiet", "source"
    system "git", "-C", "source", "-c", "user.name=t", "-c", "user.email=t@t", "commit", "--quiet", "--allow-empty", "-m", "x"
    system bin/"specweave-jobs", "clone", "./source", "--follow"
    assert_match "completed", shell_output("#{bin}/specweave-jobs list --all --json")
  ensure
    system bin/"specweave-jobs", "daemon", "stop"
  end
end
