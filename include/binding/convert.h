// Described structs to JavaScript objects and back. A missing property, a wrong type and an unknown word are TypeErrors that name the
// property; a property that no struct field has is refused too, so that the two sides of the border cannot drift apart in silence.
#pragma once

#include <napi.h>

#include <cmath>
#include <string>

#include "base/codec.h"

namespace caisson::convert {

template <class T>
Napi::Value to_js(Napi::Env env, const T& value);

/// Visitor: each field becomes a property.
struct ToJs {
  Napi::Env env;
  Napi::Object object;
  template <class T>
  void operator()(const char* name, const T& value) {
    if constexpr (is_optional<T>::value) {
      if (value) object.Set(name, to_js(env, *value));
    } else {
      object.Set(name, to_js(env, value));
    }
  }
};

template <class T>
Napi::Value to_js(Napi::Env env, const T& value) {
  if constexpr (Described<const T>) {
    ToJs visitor{env, Napi::Object::New(env)};
    T::describe(visitor, value);
    return visitor.object;
  } else if constexpr (std::is_same_v<T, std::string>) {
    return Napi::String::New(env, value);
  } else if constexpr (std::is_same_v<T, Bytes>) {
    return Napi::Buffer<uint8_t>::Copy(env, value.data(), value.size());
  } else if constexpr (is_vector<T>::value) {
    auto array = Napi::Array::New(env, value.size());
    for (uint32_t i = 0; i < value.size(); i++) array.Set(i, to_js(env, value[i]));
    return array;
  } else if constexpr (NamedEnum<T>) {
    return Napi::String::New(env, names(value)[static_cast<size_t>(value)]);
  } else if constexpr (std::is_same_v<T, bool>) {
    return Napi::Boolean::New(env, value);
  } else if constexpr (std::is_same_v<T, uint64_t>) {
    // Masks and RLIM_INFINITY do not fit a double.
    if (value > (uint64_t{1} << 53)) return Napi::BigInt::New(env, value);
    return Napi::Number::New(env, static_cast<double>(value));
  } else {
    return Napi::Number::New(env, static_cast<double>(value));
  }
}

/// Visitor: each property fills a field. The first mistake is kept; the rest is skipped.
class FromJs {
 public:
  FromJs(Napi::Env env, Napi::Object object, std::string path) : env_(env), object_(object), path_(std::move(path)) {}

  template <class T>
  void operator()(const char* name, T& value) {
    fields_++;
    if (!error_.empty()) return;
    const Napi::Value found = object_.Get(name);
    if constexpr (is_optional<T>::value) {
      if (found.IsUndefined()) {
        absent_++;
        return value.reset();
      }
      return take(found, value.emplace(), path_ + "." + name);
    } else {
      take(found, value, path_ + "." + name);
    }
  }

  template <class T>
  void take(const Napi::Value& from, T& value, const std::string& path) {
    if constexpr (Described<T>) {
      take_struct(from, value, path);
    } else if constexpr (std::is_same_v<T, std::string>) {
      if (!from.IsString()) return fail(path, "a string");
      value = from.As<Napi::String>().Utf8Value();
      if (value.find('\0') != std::string::npos) fail(path, "a string without NUL");
    } else if constexpr (std::is_same_v<T, Bytes>) {
      if (!from.IsBuffer()) return fail(path, "a Buffer");
      const auto buffer = from.As<Napi::Buffer<uint8_t>>();
      value.assign(buffer.Data(), buffer.Data() + buffer.Length());
    } else if constexpr (is_vector<T>::value) {
      take_list(from, value, path);
    } else if constexpr (NamedEnum<T>) {
      take_word(from, value, path);
    } else if constexpr (std::is_same_v<T, bool>) {
      if (!from.IsBoolean()) return fail(path, "a boolean");
      value = from.As<Napi::Boolean>().Value();
    } else {
      take_number(from, value, path);
    }
  }

  const std::string& error() const { return error_; }

 private:
  template <class T>
  void take_struct(const Napi::Value& from, T& value, const std::string& path) {
    if (!from.IsObject()) return fail(path, "an object");
    FromJs inner(env_, from.As<Napi::Object>(), path);
    T::describe(inner, value);
    if (!inner.error_.empty()) error_ = inner.error_;
    else inner.refuse_unknown(error_);
  }

  template <class T>
  void take_list(const Napi::Value& from, T& value, const std::string& path) {
    if (!from.IsArray()) return fail(path, "an array");
    const auto array = from.As<Napi::Array>();
    value.resize(array.Length());
    for (uint32_t i = 0; i < array.Length() && error_.empty(); i++) take(array.Get(i), value[i], path + "[" + std::to_string(i) + "]");
  }

  template <class T>
  void take_word(const Napi::Value& from, T& value, const std::string& path) {
    const auto words = names(T{});
    const std::string word = from.IsString() ? from.As<Napi::String>().Utf8Value() : std::string{};
    for (size_t i = 0; i < words.size(); i++) {
      if (word == words[i]) {
        value = static_cast<T>(i);
        return;
      }
    }
    std::string all;
    for (const char* known : words) all += (all.empty() ? "" : ", ") + std::string(known);
    fail(path, "one of " + all);
  }

  template <class T>
  void take_number(const Napi::Value& from, T& value, const std::string& path) {
    if constexpr (sizeof(T) == 8) {
      if (from.IsBigInt()) {
        bool lossless = false;
        if constexpr (std::is_signed_v<T>) value = from.As<Napi::BigInt>().Int64Value(&lossless);
        else value = from.As<Napi::BigInt>().Uint64Value(&lossless);
        return lossless ? void() : fail(path, "a 64-bit integer");
      }
    }
    if (!from.IsNumber()) return fail(path, "a number");
    const double number = from.As<Napi::Number>().DoubleValue();
    const double least = static_cast<double>(std::numeric_limits<T>::min());
    const double most = sizeof(T) == 8 ? 9007199254740992.0 : static_cast<double>(std::numeric_limits<T>::max());
    if (std::trunc(number) != number || number < least || number > most) return fail(path, "an integer of its range");
    value = static_cast<T>(number);
  }

  void refuse_unknown(std::string& error) {
    const auto properties = object_.GetPropertyNames();
    size_t present = 0;
    for (uint32_t i = 0; i < properties.Length(); i++) present += object_.Get(properties.Get(i)).IsUndefined() ? 0 : 1;
    if (present + absent_ > fields_) error = path_ + " has a property that is not known";
  }

  void fail(const std::string& path, const std::string& wanted) { error_ = path + " must be " + wanted; }

  Napi::Env env_;
  Napi::Object object_;
  std::string path_;
  std::string error_;
  size_t fields_ = 0;
  size_t absent_ = 0;
};

/// Fills `value`; on a mistake throws a TypeError into JavaScript and returns false.
template <class T>
bool from_js(const Napi::Value& from, T& value, const char* what) {
  FromJs visitor(from.Env(), Napi::Object(), what);
  visitor.take(from, value, what);
  if (visitor.error().empty()) return true;
  Napi::TypeError::New(from.Env(), visitor.error()).ThrowAsJavaScriptException();
  return false;
}

}  // namespace caisson::convert
