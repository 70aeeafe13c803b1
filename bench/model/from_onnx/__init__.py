"""From an ONNX file to a network: reads it, follows its tensors, folds what the compiler has no kernel for."""
