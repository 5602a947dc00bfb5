bool devices = std::string(target) != "cpu";
