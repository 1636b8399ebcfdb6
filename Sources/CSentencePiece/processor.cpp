#include "CSentencePiece.h"

#include <sentencepiece_processor.h>

#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "guard.h"

using sentencepiece::SentencePieceProcessor;
using sentencepiece::util::Status;

struct csp_processor {
    SentencePieceProcessor library;

    bool has(int32_t id) const { return id >= 0 && id < library.GetPieceSize(); }
};

namespace {

/// Returns `value()`, or `otherwise` if the library throws.
template <typename Result, typename Value>
Result quietly(Result otherwise, Value value) noexcept {
    try {
        return value();
    } catch (...) {
        return otherwise;
    }
}

}  // namespace

csp_processor *csp_load(const void *bytes, size_t size, char *error, size_t error_size) {
    std::unique_ptr<csp_processor> processor;
    const bool is_loaded = csp::guarded(error, error_size, [&]() -> Status {
        processor = std::make_unique<csp_processor>();
        return processor->library.LoadFromSerializedProto(
            std::string(static_cast<const char *>(bytes), size));
    });
    return is_loaded ? processor.release() : nullptr;
}

void csp_free(csp_processor *processor) { delete processor; }

bool csp_encode(const csp_processor *processor, const char *text, size_t length, int32_t **ids,
                size_t *count, char *error, size_t error_size) {
    return csp::guarded(error, error_size, [&]() -> Status {
        std::vector<int> found;
        const Status status = processor->library.Encode(std::string(text, length), &found);
        if (!status.ok()) return status;
        static_assert(sizeof(int) == sizeof(int32_t), "ids are copied as they are");
        *ids = static_cast<int32_t *>(csp::copied(found.data(), found.size() * sizeof(int)));
        *count = found.size();
        return status;
    });
}

bool csp_decode(const csp_processor *processor, const int32_t *ids, size_t count, char **text,
                size_t *length, char *error, size_t error_size) {
    return csp::guarded(error, error_size, [&]() -> Status {
        // Some versions of the library end the process for an unknown id.
        for (size_t i = 0; i < count; i++) {
            if (processor->has(ids[i])) continue;
            throw std::out_of_range("id " + std::to_string(ids[i]) + " is not in the vocabulary");
        }
        std::string decoded;
        const Status status =
            processor->library.Decode(std::vector<int>(ids, ids + count), &decoded);
        if (!status.ok()) return status;
        *text = static_cast<char *>(csp::copied(decoded.data(), decoded.size()));
        *length = decoded.size();
        return status;
    });
}

int32_t csp_vocabulary_size(const csp_processor *processor) {
    return quietly<int32_t>(0, [&] { return processor->library.GetPieceSize(); });
}

int32_t csp_end_id(const csp_processor *processor) {
    return quietly<int32_t>(-1, [&] { return processor->library.eos_id(); });
}

int32_t csp_pad_id(const csp_processor *processor) {
    return quietly<int32_t>(-1, [&] { return processor->library.pad_id(); });
}

int32_t csp_unknown_id(const csp_processor *processor) {
    return quietly<int32_t>(-1, [&] { return processor->library.unk_id(); });
}

const char *csp_piece(const csp_processor *processor, int32_t id, size_t *length) {
    return quietly<const char *>(nullptr, [&]() -> const char * {
        if (!processor->has(id)) return nullptr;
        const std::string &piece = processor->library.IdToPiece(id);
        *length = piece.size();
        return piece.data();
    });
}

csp_piece_kind csp_kind(const csp_processor *processor, int32_t id) {
    return quietly<csp_piece_kind>(csp_piece_unused, [&] {
        const SentencePieceProcessor &library = processor->library;
        if (!processor->has(id) || library.IsUnused(id)) return csp_piece_unused;
        if (library.IsUnknown(id)) return csp_piece_unknown;
        if (library.IsControl(id)) return csp_piece_control;
        return library.IsByte(id) ? csp_piece_byte : csp_piece_text;
    });
}

int32_t csp_id(const csp_processor *processor, const char *piece, size_t length) {
    return quietly<int32_t>(-1, [&] {
        return processor->library.PieceToId(std::string(piece, length));
    });
}

void csp_release(void *buffer) { std::free(buffer); }
