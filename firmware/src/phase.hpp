// What the firmware is doing now, visible from outside: one word that an emulator watches and one pin that a current
// meter samples, so that instructions and charge can be told apart by phase.
#pragma once

#include <cstdint>

enum class Phase : uint32_t { kBoot = 0, kIdle = 1, kLink = 2, kTrain = 3, kEvaluate = 4 };

// Stores the phase to the phase word and drives the marker pin (high while training or evaluating). It lies in a
// section of its own, whose bounds the image descriptor gives: a watcher needs to look at no other store.
extern "C" void ftte_phase(uint32_t phase);

extern "C" volatile uint32_t ftte_phase_word;

inline void enter(Phase phase) { ftte_phase(static_cast<uint32_t>(phase)); }
