// What the codecs need to know of a program whose updates travel coded: emitted beside it (bench/compiler/emit.py).
#pragma once

#include "federation/download.hpp"
#include "federation/update.hpp"

namespace federation {

struct Layout {
  Spans spans;              // of the parameters, for updates
  const Segment* segments;  // of what comes down
  uint32_t segment_count;
};

}  // namespace federation

// Defined by programs with ftte::program::kBaseBytes > 0.
extern const federation::Layout kFederation;
