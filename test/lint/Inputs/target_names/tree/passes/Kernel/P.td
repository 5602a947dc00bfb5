let options = [Option<"target", "target", "std::string", "\"tpu\"", "Target name">];
