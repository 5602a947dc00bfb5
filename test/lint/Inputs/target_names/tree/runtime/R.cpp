bool inMemory = target == "cpu";
