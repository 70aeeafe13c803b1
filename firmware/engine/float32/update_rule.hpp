// What becomes of a gradient as soon as it is known: no gradient tensor exists unless the rule keeps one.
#pragma once

namespace ftte::float32 {

// Plain SGD: the step is taken at once.
struct Immediate {
  static void apply(float learning_rate, float gradient, float& weight) { weight -= learning_rate * gradient; }
};

// The gradient is added to an accumulator that has the weights' layout, for fold() to apply at the end of a batch; the
// learning rate is not read.
struct Accumulated {
  static void apply(float learning_rate, float gradient, float& accumulator) {
    static_cast<void>(learning_rate);
    accumulator += gradient;
  }
};

}  // namespace ftte::float32
