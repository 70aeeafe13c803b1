#include "hal/host/process.hpp"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#include <cerrno>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <initializer_list>

namespace hal::host {
namespace {

constexpr uint32_t kMagic = 0x4F535446;
constexpr char kVariable[] = "FTTE_HOST_SURVIVORS";
constexpr int kParentDied = SIGUSR2;

Survivors* g_survivors;
char** g_argv;
const char* g_link;
const uint8_t* g_data;
uint32_t g_data_size;
pid_t g_parent;

[[noreturn]] __attribute__((format(printf, 1, 2))) void fail(const char* format, ...) {
  va_list args;
  va_start(args, format);
  std::fputs("host board: ", stderr);
  std::vfprintf(stderr, format, args);
  std::fputc('\n', stderr);
  va_end(args);
  std::exit(2);
}

[[noreturn]] void finish(int) {
  if (g_link != nullptr) unlink(g_link);
  _exit(0);
}

// The kernel sends it when the thread ends that started this process, which need not be the end of the process that
// this thread belongs to: so the parent is asked after.
void parent_died(int) {
  if (getppid() != g_parent) finish(0);
}

void fault(int signal, siginfo_t* info, void*) {
  FaultRecord& record = g_survivors->fault;
  record = {};
  record.magic = kFaultMagic;
  record.psr = static_cast<uint32_t>(signal);
  record.address = static_cast<uint32_t>(reinterpret_cast<uintptr_t>(info->si_addr));
  restart(ResetCause::kFault);
}

void handle(int signal, void (*handler)(int)) {
  struct sigaction action {};
  action.sa_handler = handler;
  sigaction(signal, &action, nullptr);
}

void set_up_signals() {
  static uint8_t alternate[32768];  // a fault may be the stack's overflow
  const stack_t stack{alternate, 0, sizeof alternate};
  sigaltstack(&stack, nullptr);
  sigset_t all;
  sigfillset(&all);
  sigprocmask(SIG_UNBLOCK, &all, nullptr);  // exec out of a handler left its signal blocked
  handle(SIGTERM, finish);
  handle(SIGINT, finish);
  handle(SIGHUP, finish);
  handle(kParentDied, parent_died);
  for (const int signal : {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT}) {
    struct sigaction action {};
    action.sa_sigaction = fault;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK;
    sigaction(signal, &action, nullptr);
  }
  g_parent = getppid();
  prctl(PR_SET_PDEATHSIG, kParentDied);
}

// True when the survivors come from before a reset.
bool set_up_survivors() {
  const char* inherited = std::getenv(kVariable);
  int fd = inherited != nullptr ? std::atoi(inherited) : -1;
  if (fd < 0) {
    fd = memfd_create("ftte-survivors", 0);
    if (fd < 0 || ftruncate(fd, sizeof(Survivors)) != 0) fail("no memory file: %s", std::strerror(errno));
    char text[16];
    std::snprintf(text, sizeof text, "%d", fd);
    setenv(kVariable, text, 1);
  }
  void* memory = mmap(nullptr, sizeof(Survivors), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (memory == MAP_FAILED) fail("%s=%d is no memory file: %s", kVariable, fd, std::strerror(errno));
  g_survivors = static_cast<Survivors*>(memory);
  if (g_survivors->magic == kMagic) return true;
  *g_survivors = {kMagic, ResetCause::kPowerOn, {}, -1, -1};
  return false;
}

// The slave stays open here as well: without any opener, reads of the master would fail, and the line's settings would
// be lost with each host program that closes it.
void open_terminal() {
  const int master = posix_openpt(O_RDWR | O_NOCTTY);
  if (master < 0 || grantpt(master) != 0 || unlockpt(master) != 0) fail("no pseudo-terminal: %s", std::strerror(errno));
  const int slave = open(ptsname(master), O_RDWR | O_NOCTTY);
  if (slave < 0) fail("%s: %s", ptsname(master), std::strerror(errno));
  termios raw{};
  tcgetattr(slave, &raw);
  cfmakeraw(&raw);
  tcsetattr(slave, TCSANOW, &raw);
  fcntl(master, F_SETFL, O_NONBLOCK);
  g_survivors->master = master;
  g_survivors->slave = slave;
}

void link_terminal(const char* path) {
  struct stat status {};
  if (lstat(path, &status) == 0) {
    if (!S_ISLNK(status.st_mode)) fail("--serial %s: exists and is no symbolic link: name another path", path);
    unlink(path);
  }
  if (symlink(ptsname(g_survivors->master), path) != 0) fail("--serial %s: %s", path, std::strerror(errno));
}

void map_data(const char* path) {
  const int fd = open(path, O_RDONLY | O_CLOEXEC);
  struct stat status {};
  if (fd < 0 || fstat(fd, &status) != 0) fail("--data %s: %s", path, std::strerror(errno));
  if (status.st_size > 0) {
    void* memory = mmap(nullptr, static_cast<size_t>(status.st_size), PROT_READ, MAP_PRIVATE, fd, 0);
    if (memory == MAP_FAILED) fail("--data %s: %s", path, std::strerror(errno));
    g_data = static_cast<const uint8_t*>(memory);
    g_data_size = static_cast<uint32_t>(status.st_size);
  }
  close(fd);
}

}  // namespace

Survivors& survivors() { return *g_survivors; }

void set_up(const Options& options, char** argv) {
  g_argv = argv;
  g_link = options.serial;
  const bool after_reset = set_up_survivors();
  set_up_signals();  // before anyone can know that this board is there
  if (!after_reset) {
    open_terminal();
    if (options.serial != nullptr) link_terminal(options.serial);
    std::printf("serial: %s\n", options.serial != nullptr ? options.serial : ptsname(g_survivors->master));
    std::fflush(stdout);
  }
  if (options.data != nullptr) map_data(options.data);
}

void restart(ResetCause cause) {
  g_survivors->reset_cause = cause;
  execv("/proc/self/exe", g_argv);
  finish(0);
}

const uint8_t* data_base() { return g_data; }
uint32_t data_size() { return g_data_size; }

size_t serial_read(uint8_t* out, size_t n) {
  const ssize_t got = read(g_survivors->master, out, n);
  return got > 0 ? static_cast<size_t>(got) : 0;
}

// A real line takes its bytes whether anyone listens or not: after a second without a listener they are dropped.
void serial_write(const uint8_t* data, size_t n) {
  constexpr int kPatienceMs = 1000;
  while (n > 0) {
    const ssize_t sent = write(g_survivors->master, data, n);
    if (sent > 0) {
      data += sent;
      n -= static_cast<size_t>(sent);
      continue;
    }
    if (errno != EAGAIN && errno != EINTR) return;
    pollfd ready{g_survivors->master, POLLOUT, 0};
    if (poll(&ready, 1, kPatienceMs) == 0) return;
  }
}

void serial_wait(int milliseconds) {
  pollfd ready{g_survivors->master, POLLIN, 0};
  poll(&ready, 1, milliseconds);
}

}  // namespace hal::host
