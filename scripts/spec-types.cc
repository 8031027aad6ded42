// Prints lib/native/spec.ts: the TypeScript types of what crosses the border, by one more visitor over describe().
// `npm run spec` writes the file; a test fails when it is not what this prints.
#include <cstdio>
#include <set>
#include <string>
#include <vector>

#include "kernel/seccomp.h"
#include "protocol.h"
#include "spec.h"

using namespace caisson;

static std::vector<std::string> printed;
static std::set<std::string> seen;

template <class T>
static std::string type_name();

/// Visitor: one line for each field.
struct Fields {
  std::string text;
  template <class T>
  void operator()(const char* name, T&) {
    if constexpr (is_optional<T>::value) text += std::string("  ") + name + "?: " + type_name<typename T::value_type>() + " | undefined\n";
    else text += std::string("  ") + name + ": " + type_name<T>() + "\n";
  }
};

template <class T>
static void print_struct() {
  if (!seen.insert(T::kName).second) return;
  Fields fields;
  T value;
  T::describe(fields, value);
  printed.push_back(std::string("export interface ") + T::kName + " {\n" + fields.text + "}\n");
}

template <class T>
static std::string words() {
  std::string text;
  for (const char* word : names(T{})) text += (text.empty() ? "'" : " | '") + std::string(word) + "'";
  return text;
}

template <class T>
static std::string type_name() {
  if constexpr (Described<T>) {
    print_struct<T>();
    return T::kName;
  } else if constexpr (std::is_same_v<T, std::string>) {
    return "string";
  } else if constexpr (std::is_same_v<T, Bytes>) {
    return "Uint8Array";
  } else if constexpr (is_vector<T>::value) {
    const std::string item = type_name<typename T::value_type>();
    return item.find('|') == std::string::npos ? item + "[]" : "(" + item + ")[]";
  } else if constexpr (NamedEnum<T>) {
    return words<T>();
  } else if constexpr (std::is_same_v<T, bool>) {
    return "boolean";
  } else if constexpr (std::is_same_v<T, uint64_t>) {
    return "number | bigint";
  } else {
    return "number";
  }
}

int main() {
  print_struct<StartSpec>();
  print_struct<AttachSpec>();
  print_struct<InsideSpec>();
  print_struct<LinkRequest>();
  print_struct<ConfineSpec>();
  print_struct<ViewSpec>();
  print_struct<Request>();
  print_struct<Report>();
  print_struct<seccomp::Policy>();
  print_struct<seccomp::Compiled>();
  print_struct<seccomp::Call>();
  std::printf("// Generated from include/spec.h and include/protocol.h by `npm run spec`; the headers say what each field means.\n");
  for (const std::string& text : printed) std::printf("\n%s", text.c_str());
  return 0;
}
