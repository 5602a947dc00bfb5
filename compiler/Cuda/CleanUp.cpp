#include "compiler/Cuda/CleanUp.h"

#include "llvm/Support/FileSystem.h"

#include <atomic>
#include <cerrno>
#include <csignal>
#include <fcntl.h>
#include <mutex>
#include <set>
#include <sys/wait.h>
#include <unistd.h>

using namespace saddle::cuda;

namespace {

struct Announced {
  std::mutex mutex; // never released once the process is about to end
  std::set<std::string> folders;
  std::set<pid_t> programs;
};

Announced &announced() {
  static Announced all;
  return all;
}

constexpr int kSignals[] = {SIGINT, SIGTERM, SIGHUP};

// What a handler may touch.
std::atomic<int> pipeToWatcher{-1};
struct sigaction before[std::size(kSignals)];

extern "C" void noteSignal(int number) {
  int saved = errno;
  unsigned char byte = static_cast<unsigned char>(number);
  [[maybe_unused]] ssize_t written = ::write(pipeToWatcher, &byte, 1);
  errno = saved;
}

/// Whether some process of the group is alive; those that only wait to be
/// asked for their status write nothing more.
bool isAlive(pid_t group) {
  siginfo_t info = {};
  bool leaderEnded =
      ::waitid(P_PID, group, &info, WEXITED | WNOHANG | WNOWAIT) != 0 ||
      info.si_pid == group;
  return !leaderEnded;
}

/// Everything announced is gone when it returns. Nobody can announce more.
void removeAll() {
  Announced &all = announced();
  all.mutex.lock();
  for (pid_t program : all.programs)
    ::kill(-program, SIGKILL);
  for (pid_t program : all.programs)
    for (int i = 0; i < 1000 && isAlive(program); ++i)
      ::usleep(1000);
  // A program that one of those has started may still be about to end.
  for (const std::string &folder : all.folders)
    for (int i = 0; i < 100 && llvm::sys::fs::exists(folder); ++i) {
      llvm::sys::fs::remove_directories(folder);
      if (llvm::sys::fs::exists(folder))
        ::usleep(1000);
    }
}

void watch(int from) {
  unsigned char number = 0;
  ssize_t got;
  while ((got = ::read(from, &number, 1)) < 0 && errno == EINTR)
    ;
  if (got != 1 || number == 0) // the end of the object
    return;
  removeAll();
  struct sigaction usual = {};
  usual.sa_handler = SIG_DFL;
  ::sigaction(number, &usual, nullptr);
  sigset_t only;
  sigemptyset(&only);
  sigaddset(&only, number);
  pthread_sigmask(SIG_UNBLOCK, &only, nullptr);
  ::kill(::getpid(), number);
  while (true)
    ::pause();
}

} // namespace

CleanUp::CleanUp() {
  if (::pipe2(ends, O_CLOEXEC) != 0)
    return; // as without it
  pipeToWatcher = ends[1];
  watcher = std::thread(watch, ends[0]);
  for (size_t i = 0; i < std::size(kSignals); ++i) {
    ::sigaction(kSignals[i], nullptr, &before[i]);
    if (before[i].sa_handler == SIG_IGN)
      continue;
    struct sigaction noting = {};
    noting.sa_handler = noteSignal;
    noting.sa_flags = SA_RESTART;
    ::sigaction(kSignals[i], &noting, nullptr);
  }
}

CleanUp::~CleanUp() {
  if (!watcher.joinable())
    return;
  for (size_t i = 0; i < std::size(kSignals); ++i)
    ::sigaction(kSignals[i], &before[i], nullptr);
  noteSignal(0);
  watcher.join();
  pipeToWatcher = -1;
  ::close(ends[0]);
  ::close(ends[1]);
}

void CleanUp::addFolder(llvm::StringRef path) {
  std::lock_guard<std::mutex> lock(announced().mutex);
  announced().folders.insert(path.str());
}

void CleanUp::removeFolder(llvm::StringRef path) {
  std::lock_guard<std::mutex> lock(announced().mutex);
  announced().folders.erase(path.str());
}

pid_t CleanUp::startProgram(const std::function<pid_t()> &start) {
  std::lock_guard<std::mutex> lock(announced().mutex);
  pid_t program = start();
  if (program != 0)
    announced().programs.insert(program);
  return program;
}

int CleanUp::waitForProgram(pid_t program) {
  // Its number stays its own until it is asked for its status, below.
  siginfo_t info;
  while (::waitid(P_PID, program, &info, WEXITED | WNOWAIT) != 0 &&
         errno == EINTR)
    ;
  std::lock_guard<std::mutex> lock(announced().mutex);
  int status = 0;
  ::waitpid(program, &status, 0);
  announced().programs.erase(program);
  return status;
}
