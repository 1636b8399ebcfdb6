// Tensor handles: their properties, their contents, and tensors over foreign memory.
#include "internal.h"

using namespace swan;

void ct_error_free(ct_error *error) {
    ::free(error->message);
    error->message = nullptr;
}

ct_tensor ct_tensor_retain(ct_tensor tensor) {
    c10::raw::intrusive_ptr::incref(impl(tensor));
    return tensor;
}

void ct_tensor_release(ct_tensor tensor) {
    c10::raw::intrusive_ptr::decref(impl(tensor));
}

int32_t ct_tensor_rank(ct_tensor tensor) { return static_cast<int32_t>(impl(tensor)->dim()); }

int64_t ct_tensor_size(ct_tensor tensor, int32_t dim) { return impl(tensor)->sizes()[dim]; }

int64_t ct_tensor_stride(ct_tensor tensor, int32_t dim) { return impl(tensor)->strides()[dim]; }

int64_t ct_tensor_count(ct_tensor tensor) { return impl(tensor)->numel(); }

int32_t ct_tensor_dtype(ct_tensor tensor) {
    return static_cast<int32_t>(c10::typeMetaToScalarType(impl(tensor)->dtype()));
}

int32_t ct_tensor_device_type(ct_tensor tensor) {
    return static_cast<int32_t>(impl(tensor)->device().type());
}

int32_t ct_tensor_device_index(ct_tensor tensor) {
    return static_cast<int32_t>(impl(tensor)->device().index());
}

bool ct_tensor_is_contiguous(ct_tensor tensor) { return impl(tensor)->is_contiguous(); }

bool ct_tensor_requires_grad(ct_tensor tensor) { return borrow(tensor).requires_grad(); }

void *ct_tensor_data(ct_tensor tensor, ct_error *error) {
    return guarded(error, static_cast<void *>(nullptr), [&] {
        requireIntact(borrow(tensor));
        return impl(tensor)->mutable_data();
    });
}

bool ct_tensor_item(ct_tensor tensor, double *value, ct_error *error) {
    return guarded(error, false, [&] {
        *value = borrow(tensor).item().toDouble();
        requireIntact(borrow(tensor));
        return true;
    });
}

ct_tensor ct_tensor_from_memory(
    void *memory, const int64_t *sizes, int32_t rank, int32_t dtype,
    void (*release)(void *context), void *context, ct_error *error) {
    return guarded(error, static_cast<ct_tensor>(nullptr), [&] {
        // Reference counted, since from_blob may throw before or after it has called the function.
        std::shared_ptr<void> owner(context, release);
        const auto options = at::TensorOptions().dtype(static_cast<at::ScalarType>(dtype));
        return give(at::from_blob(
            memory, at::IntArrayRef(sizes, rank), [owner](void *) mutable { owner.reset(); }, options));
    });
}
