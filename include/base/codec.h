// Structs to bytes and back, by the one describe() that each struct has.
//
// Little-endian, fixed width, no padding; strings and lists carry a 32-bit count. A Decoder never reads past its end and never
// allocates more than the bytes it was given could describe; after the first shortage it yields nothing and `ok()` is false.
//
// A described struct looks like this, and every visitor (Encoder, Decoder, FromJs, ToJs, TypeScript) walks it alike:
//
//   struct IdMapEntry {
//     IdKind kind{};
//     uint32_t container = 0;
//     template <class V, class S> static void describe(V&& v, S& s) { v("kind", s.kind), v("container", s.container); }
//   };
//
// An enum is described by its names, in the order of its values: `constexpr auto names(IdKind) { return std::array{"uid", "gid"}; }`.
#pragma once

#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

namespace caisson {

using Bytes = std::vector<uint8_t>;

struct AnyVisitor {
  template <class T>
  void operator()(const char*, T&) {}
};

template <class T>
concept Described = requires(T& t) { T::describe(AnyVisitor{}, t); };
template <class T>
concept NamedEnum = std::is_enum_v<T> && requires(T t) { names(t); };
template <class T>
struct is_vector : std::false_type {};
template <class T>
struct is_vector<std::vector<T>> : std::true_type {};
template <class T>
struct is_optional : std::false_type {};
template <class T>
struct is_optional<std::optional<T>> : std::true_type {};

class Encoder {
 public:
  template <class T>
  void operator()(const char*, const T& value) {
    put(value);
  }
  Bytes take() { return std::move(out_); }

  template <class T>
  void put(const T& value) {
    if constexpr (Described<const T>) {
      T::describe(*this, value);
    } else if constexpr (std::is_same_v<T, std::string> || std::is_same_v<T, Bytes>) {
      put(static_cast<uint32_t>(value.size()));
      raw(value.data(), value.size());
    } else if constexpr (is_vector<T>::value) {
      put(static_cast<uint32_t>(value.size()));
      for (const auto& item : value) put(item);
    } else if constexpr (is_optional<T>::value) {
      put(static_cast<uint8_t>(value.has_value()));
      if (value) put(*value);
    } else {
      static_assert(std::is_arithmetic_v<T> || NamedEnum<T>);
      raw(&value, sizeof value);
    }
  }

 private:
  void raw(const void* data, size_t size) {
    const auto* bytes = static_cast<const uint8_t*>(data);
    out_.insert(out_.end(), bytes, bytes + size);
  }
  Bytes out_;
};

class Decoder {
 public:
  Decoder(const void* data, size_t size) : next_(static_cast<const uint8_t*>(data)), left_(size) {}
  explicit Decoder(const Bytes& bytes) : Decoder(bytes.data(), bytes.size()) {}

  template <class T>
  void operator()(const char*, T& value) {
    get(value);
  }
  bool ok() const { return ok_; }
  /// True when everything was read, and nothing was left over.
  bool done() const { return ok_ && left_ == 0; }

  template <class T>
  void get(T& value) {
    if constexpr (Described<T>) {
      T::describe(*this, value);
    } else if constexpr (std::is_same_v<T, std::string> || std::is_same_v<T, Bytes>) {
      const size_t size = count(1);
      const auto* bytes = reinterpret_cast<const typename T::value_type*>(next_);
      value.assign(bytes, bytes + size);
      skip(size);
    } else if constexpr (is_vector<T>::value) {
      value.resize(count(1));
      for (auto& item : value) get(item);
    } else if constexpr (is_optional<T>::value) {
      bool present = false;
      get(present);
      if (present) get(value.emplace());
    } else if constexpr (std::is_same_v<T, bool>) {
      uint8_t byte = 0;
      raw(&byte, sizeof byte);
      value = byte != 0;
    } else {
      raw(&value, sizeof value);
      if constexpr (NamedEnum<T>) {
        if (static_cast<size_t>(value) >= names(T{}).size()) fail(), value = T{};
      }
    }
  }

 private:
  /// A count of items of at least `least` bytes each; zero, and a failure, when so many cannot follow.
  size_t count(size_t least) {
    uint32_t items = 0;
    raw(&items, sizeof items);
    if (items > left_ / least) fail(), items = 0;
    return items;
  }
  void raw(void* to, size_t size) {
    if (size > left_) return fail();
    std::memcpy(to, next_, size);
    skip(size);
  }
  void skip(size_t size) { next_ += size, left_ -= size; }
  void fail() { ok_ = false, left_ = 0; }

  const uint8_t* next_;
  size_t left_;
  bool ok_ = true;
};

template <class T>
Bytes encode(const T& value) {
  Encoder encoder;
  encoder.put(value);
  return encoder.take();
}

template <class T>
bool decode(const void* data, size_t size, T& value) {
  Decoder decoder(data, size);
  decoder.get(value);
  return decoder.done();
}

}  // namespace caisson
