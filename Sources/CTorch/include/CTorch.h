// The C face of libtorch: find an operator by its name, call it, hold its tensors.
// Every function that can fail returns false and fills `error`; no C++ exception leaves this target.
#ifndef SWAN_CTORCH_H
#define SWAN_CTORCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

// ---- Errors ----

typedef enum : int32_t {
    CT_ERROR_OTHER = 0,
    CT_ERROR_OUT_OF_MEMORY = 1,
    CT_ERROR_INDEX = 2,
    CT_ERROR_TYPE = 3,
    CT_ERROR_NOT_FOUND = 4,
    CT_ERROR_DEVICE = 5,
    CT_ERROR_OF_BODY = 6,  // `body` is the error that a ct_body returned
    CT_ERROR_FILE = 7,     // a file with tensors was truncated
    CT_ERROR_PEER = 8,     // a process of a group, or the network between them
} ct_error_kind;

typedef struct {
    ct_error_kind kind;
    char *message;  // owned by the caller: ct_error_free
    void *body;     // owned by the caller
} ct_error;

void ct_error_free(ct_error *error);

// ---- Tensors: reference-counted handles ----

typedef struct ct_tensor_s *ct_tensor;  // one reference to a c10::TensorImpl

ct_tensor ct_tensor_retain(ct_tensor tensor);
void ct_tensor_release(ct_tensor tensor);

int32_t ct_tensor_rank(ct_tensor tensor);
int64_t ct_tensor_size(ct_tensor tensor, int32_t dim);
int64_t ct_tensor_stride(ct_tensor tensor, int32_t dim);
int64_t ct_tensor_count(ct_tensor tensor);
int32_t ct_tensor_dtype(ct_tensor tensor);
int32_t ct_tensor_device_type(ct_tensor tensor);
int32_t ct_tensor_device_index(ct_tensor tensor);
bool ct_tensor_is_contiguous(ct_tensor tensor);
bool ct_tensor_requires_grad(ct_tensor tensor);

// The first element in memory; null for a tensor without storage.
void *ct_tensor_data(ct_tensor tensor, ct_error *error);

// The value of a one-element tensor as a double.
bool ct_tensor_item(ct_tensor tensor, double *value, ct_error *error);

// A tensor over memory of the caller; `release(context)` runs exactly once: when the last view is released,
// or before this returns null.
ct_tensor ct_tensor_from_memory(
    void *memory, const int64_t *sizes, int32_t rank, int32_t dtype,
    void (*release)(void *context), void *context, ct_error *error);

// ---- Files in memory ----

typedef struct ct_mapping_s *ct_mapping;

// Registers `count` bytes from `start` on as those of an open file. If they turn out to be missing they read
// as zeros, and from then on operators on its tensors, and reads of them, fail with CT_ERROR_FILE.
ct_mapping ct_mapping_create(void *start, size_t count, int descriptor, const char *path);
// Call this before the memory is unmapped and the file is closed.
void ct_mapping_release(ct_mapping mapping);
// Whether the file was truncated since it was registered; whether it was changed in any way.
bool ct_mapping_is_cut(ct_mapping mapping);
bool ct_mapping_is_changed(ct_mapping mapping);
// The path of a truncated file, to be freed by the caller; null if there is none.
char *ct_mapping_find_cut(void);
// Reads a byte of each page.
void ct_touch(const void *start, size_t count);

// ---- Files of torch.save ----

// Takes the next bytes of a file; returns whether they were written.
typedef bool (*ct_write)(void *context, const void *bytes, size_t count);

// Writes a dictionary of tensors, in the order given. A tensor with a group (null for none) becomes a member of
// the dictionary of that name.
bool ct_archive_write(
    const char *const *groups, const char *const *names, const ct_tensor *tensors, size_t count, ct_write write,
    void *context, ct_error *error);

// ---- Operators ----

typedef const struct ct_operator_s *ct_operator;

typedef enum : int32_t {
    CT_NONE = 0,
    CT_TENSOR = 1,        // pointer: ct_tensor (borrowed as an argument, owned as a result)
    CT_INT = 2,           // integer; dtypes, layouts and memory formats too
    CT_DOUBLE = 3,
    CT_BOOL = 4,
    CT_STRING = 5,        // pointer: const char *, null-terminated
    CT_DEVICE = 6,        // integer: type << 8 | (index + 1)
    CT_GENERATOR = 7,     // pointer: ct_generator
    CT_INT_LIST = 8,      // pointer: const int64_t *
    CT_DOUBLE_LIST = 9,   // pointer: const double *
    CT_TENSOR_LIST = 10,  // pointer: const ct_tensor *
    CT_BOOL_LIST = 11,    // pointer: const int64_t *
    CT_OPTIONAL_TENSOR_LIST = 12,  // pointer: const ct_tensor *, null for none
} ct_kind;

typedef struct {
    ct_kind kind;
    int32_t count;  // of list elements
    union {
        int64_t integer;
        double real;
        const void *pointer;
    };
} ct_value;

// Finds an operator by name ("aten::add") and overload ("Tensor"). The handle is valid forever.
ct_operator ct_operator_find(const char *name, const char *overload, ct_error *error);

// Calls an operator. Trailing arguments that are omitted have the schema's defaults. Results are flattened
// (lists become their elements); more than `capacity` results are an error.
bool ct_operator_call(
    ct_operator op, const ct_value *arguments, int32_t count,
    ct_value *results, int32_t capacity, int32_t *resultCount, ct_error *error);

// ---- Streams: concurrent work on a device. On the CPU these functions do nothing ----

typedef struct ct_mark_s *ct_mark;  // a position in a stream

typedef struct ct_visit_s *ct_visit;  // the thread's previous stream

// Submits the calling thread's work on the device to the device's side stream until it leaves.
ct_visit ct_side_stream_enter(int32_t device_type, int32_t device_index, ct_error *error);
void ct_side_stream_leave(ct_visit visit);

// Marks the work that the calling thread has submitted to the device so far.
ct_mark ct_stream_mark(int32_t device_type, int32_t device_index, ct_error *error);

// Makes further work from the calling thread run after the mark.
bool ct_stream_wait(ct_mark mark, ct_error *error);

void ct_mark_release(ct_mark mark);

// ---- Random numbers ----

typedef struct ct_generator_s *ct_generator;

ct_generator ct_generator_create(int32_t deviceType, int32_t deviceIndex, uint64_t seed, ct_error *error);
void ct_generator_release(ct_generator generator);
// The state as a byte tensor, and back.
ct_tensor ct_generator_state(ct_generator generator, ct_error *error);
bool ct_generator_set_state(ct_generator generator, ct_tensor state, ct_error *error);

// ---- Automatic differentiation ----

bool ct_tensor_set_requires_grad(ct_tensor tensor, bool value, ct_error *error);
// d output / d input for each input; null for an input that the output does not depend on.
bool ct_gradients(
    ct_tensor output, const ct_tensor *inputs, int32_t count, ct_tensor *gradients, ct_error *error);
// Gets the gradient of input `index`, which it owns, as soon as that is complete, on the thread of the backward
// pass; returns an error object of the caller, or null for success.
typedef void *(*ct_arrival)(void *context, int32_t index, ct_tensor gradient);
// The same as ct_gradients, with `arrived` called for each input that the output depends on. `release` is called
// with errors of `arrived` that are not delivered.
bool ct_gradients_arriving(
    ct_tensor output, const ct_tensor *inputs, int32_t count, ct_arrival arrived,
    void (*release)(void *error), void *context, ct_tensor *gradients, ct_error *error);
// The tensor without its history, sharing memory.
ct_tensor ct_tensor_detach(ct_tensor tensor, ct_error *error);

// A function of the caller; returns an error object of the caller, or null for success.
typedef void *(*ct_body)(void *context);
typedef struct ct_region_s *ct_region;

// From here until the thread leaves the region, tensors that operators save for gradients are not kept. When
// the backward pass needs them, `run` is called, possibly on another thread: it must repeat what is done
// here, with the same numbers. `release` is called with `context` when no more calls can occur, and with
// errors of `run` that are not delivered.
ct_region ct_region_enter(
    ct_body run, void (*release)(void *context), void *context, ct_error *error);
void ct_region_leave(ct_region region);

typedef enum : int32_t { CT_GUARD_INFERENCE = 0, CT_GUARD_NO_GRAD = 1, CT_GUARD_GRAD = 2 } ct_guard_kind;
typedef struct ct_guard_s *ct_guard;

// Guards apply to the calling thread and are released there, the newest first.
ct_guard ct_guard_enter(ct_guard_kind kind);
void ct_guard_leave(ct_guard guard);

// ---- Groups of processes (c10d) ----

typedef struct ct_store_s *ct_store;  // keys and values that all processes see

// Connects to the store at an address. With a listening socket (otherwise -1), bound to that port, serves it
// there; the store then owns the socket.
ct_store ct_store_open(
    const char *host, uint16_t port, int listening, int64_t milliseconds, ct_error *error);
// Another connection to the same store, for another thread.
ct_store ct_store_clone(ct_store store, ct_error *error);
// The part of a store whose keys begin with a prefix.
ct_store ct_store_part(ct_store store, const char *prefix, ct_error *error);
void ct_store_release(ct_store store);
bool ct_store_set(ct_store store, const char *key, const void *bytes, size_t count, ct_error *error);
// Waits for a key; `bytes` is to be freed by the caller.
bool ct_store_get(
    ct_store store, const char *key, int64_t milliseconds, void **bytes, size_t *count,
    ct_error *error);
// Adds to a counter and returns its new value in `result`.
bool ct_store_add(ct_store store, const char *key, int64_t amount, int64_t *result, ct_error *error);
bool ct_store_has(ct_store store, const char *key, bool *result, ct_error *error);

typedef struct ct_group_s *ct_group;

// Joins the processes that open a group with the same store. `address` is this process's own one, on which
// its peers reach it.
ct_group ct_group_open_gloo(
    ct_store store, int32_t rank, int32_t size, const char *address, int64_t milliseconds,
    ct_error *error);
// The same for tensors on a GPU, with NCCL, which `scripts/bootstrap --cuda` prepares.
ct_group ct_group_open_nccl(
    ct_store store, int32_t rank, int32_t size, int32_t device, int64_t milliseconds,
    ct_error *error);
void ct_group_release(ct_group group);
// Closes the connections; what waits fails.
void ct_group_abort(ct_group group);

typedef struct ct_work_s *ct_work;

// Waits until the result can be used; 0 milliseconds stand for the timeout of the group.
bool ct_work_wait(ct_work work, int64_t milliseconds, ct_error *error);
void ct_work_release(ct_work work);

typedef enum : int32_t { CT_SUM = 0, CT_MAX = 1, CT_MIN = 2 } ct_reduction;

// These start and return. Tensors are contiguous and must not be used until the work is done.
ct_work ct_broadcast(ct_group group, ct_tensor tensor, int32_t root, ct_error *error);
ct_work ct_all_reduce(ct_group group, ct_tensor tensor, ct_reduction reduction, ct_error *error);
ct_work ct_all_gather(ct_group group, ct_tensor output, ct_tensor input, ct_error *error);
ct_work ct_reduce_scatter(ct_group group, ct_tensor output, ct_tensor input, ct_error *error);
// The counts are rows of dimension 0 to and from each rank.
ct_work ct_all_to_all(
    ct_group group, ct_tensor output, ct_tensor input, const int64_t *received, const int64_t *sent,
    ct_error *error);
// A message longer than the receiver's tensor ends the receiving process.
ct_work ct_send(ct_group group, ct_tensor tensor, int32_t to, int32_t tag, ct_error *error);
ct_work ct_receive(ct_group group, ct_tensor tensor, int32_t from, int32_t tag, ct_error *error);
ct_work ct_barrier(ct_group group, ct_error *error);

// Differentiable exchanges, complete when they return.
// Rows of dimension 0 to and from each rank; the gradient goes the other way.
ct_tensor ct_exchanged(
    ct_group group, ct_tensor input, const int64_t *received, const int64_t *sent, ct_error *error);
// The rows of all ranks, `counts` from each; the gradient is the sum over ranks of their gradients of the own
// rows, or, if all ranks compute the same from the result, the own rows of the gradient.
ct_tensor ct_gathered(
    ct_group group, ct_tensor input, const int64_t *counts, bool is_same, ct_error *error);
// The sum over ranks; the gradient is the sum of gradients, or, if all ranks compute the same from the
// result, the gradient itself.
ct_tensor ct_summed(ct_group group, ct_tensor input, bool is_same, ct_error *error);
// The flat tensor of which each rank has an equal shard, in a dtype; the gradient is this rank's shard of the sum
// over ranks, in float32.
// For several tensors in one exchange.
bool ct_unsharded(
    ct_group group, const ct_tensor *shards, int32_t count, int32_t dtype, ct_tensor *wholes,
    ct_error *error);
// An uninitialized flat tensor of as many shards as the group has ranks, for a gather without gradients.
ct_tensor ct_whole(ct_group group, ct_tensor shard, ct_error *error);
// The bytes of tensors that ct_unsharded and ct_whole made and that still exist, and their maximum since the last
// reset.
void ct_unsharded_bytes(int64_t *now, int64_t *maximum, bool resets);
// This rank's equal shard of the sum of flat tensors over ranks, added in pairs of neighbours.
ct_tensor ct_scattered_sum(ct_group group, ct_tensor whole, ct_error *error);

// ---- The engine ----

const char *ct_version(void);
int32_t ct_threads(void);
void ct_set_threads(int32_t count);
/// For operators that the calling thread runs, and for no other thread.
void ct_set_threads_here(int32_t count);
/// Makes the process keep the memory of freed tensors for reuse, or return it immediately.
void ct_keep_freed_memory(bool keep);

/// Makes all threads allocate from one arena: each additional arena of glibc reserves 64 MB of address space.
void ct_use_one_arena(void);
// The instruction set of the engine's CPU kernels ("AVX2", "AVX512", ...).
const char *ct_cpu_capability(void);
// Whether the processor has instructions for multiplying numbers of a dtype.
bool ct_multiplies(int32_t dtype);
// Whether the processor has tiles for bfloat16 matrices (AMX) and this process may use them.
bool ct_has_tiles(void);
// Loads the CUDA half of the engine on first use; returns the number of GPUs.
int32_t ct_cuda_device_count(ct_error *error);
// Whether a GPU may round the operands of float32 convolutions to 10 mantissa bits.
bool ct_allows_tf32(void);
void ct_allow_tf32(bool value);
bool ct_cuda_synchronize(int32_t index, ct_error *error);
// The driver's name for a GPU; false if it is not available.
bool ct_cuda_name(int32_t index, char *name, int32_t capacity);
// The nanoseconds that a direct C++ call of at::add takes for 16 elements; negative on failure.
double ct_bench_add(int64_t iterations, ct_error *error);

#ifdef __cplusplus
}
#endif
#endif
