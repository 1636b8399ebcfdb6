// One call for every operator that the dispatcher knows, through its boxed calling convention.
#include "internal.h"

using namespace swan;

namespace {

template <typename Element, typename Stored>
c10::IValue list(const ct_value &value) {
    const auto *elements = static_cast<const Stored *>(value.pointer);
    c10::List<Element> result;
    result.reserve(value.count);
    for (int32_t i = 0; i < value.count; ++i) result.push_back(static_cast<Element>(elements[i]));
    return result;
}

c10::IValue box(const ct_value &value) {
    switch (value.kind) {
        case CT_NONE: return {};
        case CT_TENSOR: return borrow(static_cast<ct_tensor>(const_cast<void *>(value.pointer)));
        case CT_INT: return value.integer;
        case CT_DOUBLE: return value.real;
        case CT_BOOL: return value.integer != 0;
        case CT_STRING: return std::string(static_cast<const char *>(value.pointer));
        case CT_DEVICE: return device(value.integer);
        case CT_GENERATOR:
            return static_cast<const ct_generator_s *>(value.pointer)->generator;
        case CT_INT_LIST: return list<int64_t, int64_t>(value);
        case CT_DOUBLE_LIST: return list<double, double>(value);
        case CT_BOOL_LIST: return list<bool, int64_t>(value);
        case CT_TENSOR_LIST: {
            const auto *tensors = static_cast<const ct_tensor *>(value.pointer);
            c10::List<at::Tensor> result;
            result.reserve(value.count);
            for (int32_t i = 0; i < value.count; ++i) result.push_back(borrow(tensors[i]));
            return result;
        }
        case CT_OPTIONAL_TENSOR_LIST: {
            const auto *tensors = static_cast<const ct_tensor *>(value.pointer);
            c10::List<std::optional<at::Tensor>> result;
            result.reserve(value.count);
            for (int32_t i = 0; i < value.count; ++i) {
                result.push_back(
                    tensors[i] == nullptr ? std::nullopt : std::make_optional(borrow(tensors[i])));
            }
            return result;
        }
    }
    TORCH_CHECK(false, "unknown kind of argument: ", static_cast<int32_t>(value.kind));
}

/// Throws if an argument's file was truncated when it was read.
void requireIntactFiles(const ct_value *arguments, int32_t count) {
    for (int32_t i = 0; i < count; ++i) {
        const ct_value &value = arguments[i];
        if (value.kind == CT_TENSOR) {
            findDamage(borrow(static_cast<ct_tensor>(const_cast<void *>(value.pointer))));
        } else if (value.kind == CT_TENSOR_LIST || value.kind == CT_OPTIONAL_TENSOR_LIST) {
            const auto *tensors = static_cast<const ct_tensor *>(value.pointer);
            for (int32_t j = 0; j < value.count; ++j) {
                if (tensors[j] != nullptr) findDamage(borrow(tensors[j]));
            }
        }
    }
}

/// Collects results in the caller's buffer. Results that are not handed over are released.
struct Results {
    ct_value *values;
    int32_t capacity;
    int32_t count = 0;

    ct_value &next() {
        TORCH_CHECK(count < capacity, "the operator has more than ", capacity, " results");
        ct_value &value = values[count++];
        value.count = 0;
        return value;
    }

    void add(c10::IValue &&result) {
        if (result.isTensor()) {
            ct_value &value = next();
            value.kind = CT_TENSOR;
            value.pointer = give(std::move(result).toTensor());
        } else if (result.isInt()) {
            ct_value &value = next();
            value.kind = CT_INT;
            value.integer = result.toInt();
        } else if (result.isDouble()) {
            ct_value &value = next();
            value.kind = CT_DOUBLE;
            value.real = result.toDouble();
        } else if (result.isBool()) {
            ct_value &value = next();
            value.kind = CT_BOOL;
            value.integer = result.toBool();
        } else if (result.isTensorList()) {
            for (at::Tensor tensor : result.toTensorVector()) add(std::move(tensor));
        } else {
            TORCH_CHECK(false, "a result of type ", result.tagKind(), " is not supported");
        }
    }

    void drop() {
        for (int32_t i = 0; i < count; ++i) {
            if (values[i].kind != CT_TENSOR) continue;
            ct_tensor_release(static_cast<ct_tensor>(const_cast<void *>(values[i].pointer)));
        }
        count = 0;
    }
};

/// The arguments and results of one call. The memory is kept for the thread's next call.
class CallStack {
public:
    // Taken, not shared: a nested call finds none and allocates its own.
    CallStack() { values.swap(spare()); }
    ~CallStack() {
        values.clear();
        values.swap(spare());
    }
    CallStack(const CallStack &) = delete;
    CallStack &operator=(const CallStack &) = delete;

    torch::jit::Stack values;

private:
    static torch::jit::Stack &spare() {
        thread_local torch::jit::Stack stack;
        return stack;
    }
};

}  // namespace

ct_operator ct_operator_find(const char *name, const char *overload, ct_error *error) {
    return guarded(error, static_cast<ct_operator>(nullptr), [&]() -> ct_operator {
        auto handle = c10::Dispatcher::singleton().findSchema({name, overload});
        if (!handle.has_value()) {
            std::string full(name);
            if (*overload != 0) full.append(".").append(overload);
            fill(error, CT_ERROR_NOT_FOUND, "libtorch has no operator " + full);
            return nullptr;
        }
        return reinterpret_cast<ct_operator>(new c10::OperatorHandle(*handle));
    });
}

bool ct_operator_call(
    ct_operator op, const ct_value *arguments, int32_t count,
    ct_value *results, int32_t capacity, int32_t *resultCount, ct_error *error) {
    Results collected{results, capacity};
    const bool done = guarded(error, false, [&] {
        const auto &handle = *reinterpret_cast<const c10::OperatorHandle *>(op);
        const auto &parameters = handle.schema().arguments();
        TORCH_CHECK(
            static_cast<size_t>(count) <= parameters.size(), handle.schema().operator_name(),
            " takes ", parameters.size(), " arguments, not ", count);
        CallStack call;
        torch::jit::Stack &stack = call.values;
        stack.reserve(parameters.size());
        for (int32_t i = 0; i < count; ++i) stack.push_back(box(arguments[i]));
        for (size_t i = count; i < parameters.size(); ++i) {
            const auto &fallback = parameters[i].default_value();
            TORCH_CHECK(
                fallback.has_value(), handle.schema().operator_name(), " needs its argument ",
                parameters[i].name());
            stack.push_back(*fallback);
        }
        handle.callBoxed(stack);
        if (damagedFiles.load(std::memory_order_relaxed) != 0) requireIntactFiles(arguments, count);
        for (auto &result : stack) collected.add(std::move(result));
        return true;
    });
    if (!done) collected.drop();
    *resultCount = collected.count;
    return done;
}
