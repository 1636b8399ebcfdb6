// A C interface to the SentencePiece library: loads models, encodes and decodes text, trains models.
//
// No C++ exception leaves these functions. A function that can fail writes a zero-terminated
// message to `error` (truncated to `error_size` bytes) and returns NULL or false. Text is UTF-8 with
// an explicit length, so it may contain zero bytes. Returned buffers belong to the caller, who
// frees them with csp_release.

#ifndef CSENTENCEPIECE_H
#define CSENTENCEPIECE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct csp_processor csp_processor;

/// The kinds of vocabulary pieces.
typedef enum csp_piece_kind {
    csp_piece_text = 0,
    csp_piece_unknown = 1,
    csp_piece_control = 2,
    csp_piece_unused = 3,
    csp_piece_byte = 4,
} csp_piece_kind;

/// Loads a model from its serialized protocol buffer, which is copied. The library does not check
/// the table of normalization rules; the caller does.
csp_processor *csp_load(const void *bytes, size_t size, char *error, size_t error_size);

void csp_free(csp_processor *processor);

/// Encodes `text` as ids of pieces, without an end token. Can be called from several threads at once.
bool csp_encode(const csp_processor *processor, const char *text, size_t length, int32_t **ids,
                size_t *count, char *error, size_t error_size);

/// Decodes `ids` to text; an id outside the vocabulary is an error.
bool csp_decode(const csp_processor *processor, const int32_t *ids, size_t count, char **text,
                size_t *length, char *error, size_t error_size);

int32_t csp_vocabulary_size(const csp_processor *processor);

/// The ids of the end, padding and unknown tokens; -1 if the model has none.
int32_t csp_end_id(const csp_processor *processor);
int32_t csp_pad_id(const csp_processor *processor);
int32_t csp_unknown_id(const csp_processor *processor);

/// The piece with this id, owned by the processor; NULL for an id outside the vocabulary.
const char *csp_piece(const csp_processor *processor, int32_t id, size_t *length);

/// The kind of the piece with this id; csp_piece_unused for an id outside the vocabulary.
csp_piece_kind csp_kind(const csp_processor *processor, int32_t id);

/// The id of a piece; that of the unknown token if the vocabulary does not contain it.
int32_t csp_id(const csp_processor *processor, const char *piece, size_t length);

/// Trains a model and returns its serialized protocol buffer.
/// `sentences` has one sentence per line; `options` one `name=value` of SentencePiece's trainer per
/// line.
bool csp_train(const char *sentences, size_t length, const char *options, void **model,
               size_t *model_size, char *error, size_t error_size);

/// Frees a buffer returned by csp_encode, csp_decode or csp_train.
void csp_release(void *buffer);

#ifdef __cplusplus
}
#endif

#endif
