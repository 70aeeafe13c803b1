// The parts of a board that a Linux process supplies: what survives a reset, the serial line, the data partition.
#pragma once

#include <cstddef>
#include <cstdint>

#include "hal/hal.hpp"

namespace hal::host {

// Kept in a memory file that is handed from one exec to the next: the process's counterpart of .noinit memory. The
// descriptors of the pseudo-terminal are in it too, so that the line, too, survives a reset, as a board's does.
struct Survivors {
  uint32_t magic;
  ResetCause reset_cause;
  FaultRecord fault;
  int master;
  int slave;
};

struct Options {
  const char* serial;  // path of the symbolic link to the pseudo-terminal, or null
  const char* data;    // file that is the data partition, or null
};

// Ends the process with a message and exit code 2 when it cannot do what the options ask.
void set_up(const Options& options, char** argv);

Survivors& survivors();

// Runs the program anew, as a reset does: same options, same serial line. Safe in a signal handler.
[[noreturn]] void restart(ResetCause cause);

const uint8_t* data_base();
uint32_t data_size();

// At most `n` bytes of the serial line, at once: 0 when nothing waits.
size_t serial_read(uint8_t* out, size_t n);
void serial_write(const uint8_t* data, size_t n);
void serial_wait(int milliseconds);  // until something can be read

}  // namespace hal::host
