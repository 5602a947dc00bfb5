bool bad = name == "select_rows";
bool worse = "add" != name;
bool old = !std::strcmp(name, "add");
auto fine = Plan("add", planAdd);
bool other = name == "adder";
