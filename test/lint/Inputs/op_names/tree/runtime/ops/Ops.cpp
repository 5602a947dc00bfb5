      {"add",
      {"select_rows",
bool counts(const Op &op) { return op.name == "add"; }
