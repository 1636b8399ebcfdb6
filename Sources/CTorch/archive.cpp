// Files of torch.save, by the engine's own pickler and archive writer.
#include <ATen/core/Dict.h>
#include <caffe2/serialize/inline_container.h>
#include <torch/csrc/jit/serialization/pickler.h>

#include "internal.h"

using namespace swan;

namespace {

using Dictionary = c10::impl::GenericDict;

Dictionary dictionary() { return Dictionary(c10::StringType::get(), c10::AnyType::get()); }

/// Not a view of a larger storage, which would be written as a whole.
at::Tensor plain(const at::Tensor &tensor) {
    const auto source = tensor.detach().cpu().contiguous();
    return source.storage().nbytes() == source.nbytes() ? source : source.clone();
}

std::string pickled(const Dictionary &root, std::vector<at::Tensor> &tensors) {
    std::string bytes;
    torch::jit::Pickler pickler(
        [&](const char *data, size_t count) { bytes.append(data, count); }, nullptr, nullptr, nullptr, nullptr,
        /*tag_aggregates=*/false);
    pickler.protocol();
    pickler.pushIValue(root);
    pickler.stop();
    tensors = pickler.tensorData();
    return bytes;
}

}  // namespace

bool ct_archive_write(
    const char *const *groups, const char *const *names, const ct_tensor *handles, size_t count, ct_write write,
    void *context, ct_error *error) {
    return guarded<bool>(error, false, [&] {
        auto root = dictionary();
        for (size_t i = 0; i < count; i++) {
            auto target = root;
            if (groups[i] != nullptr) {
                if (!root.contains(groups[i])) root.insert(groups[i], dictionary());
                target = root.at(groups[i]).toGenericDict();
            }
            target.insert(names[i], plain(borrow(handles[i])));
        }
        std::vector<at::Tensor> tensors;
        const auto pickle = pickled(root, tensors);
        caffe2::serialize::PyTorchStreamWriter writer([&](const void *bytes, size_t size) -> size_t {
            // The writer turns a short count into an error.
            return write(context, bytes, size) ? size : 0;
        });
        writer.writeRecord("data.pkl", pickle.data(), pickle.size());
        writer.writeRecord("byteorder", "little", 6);
        for (size_t i = 0; i < tensors.size(); i++) {
            requireIntact(tensors[i]);
            writer.writeRecord("data/" + std::to_string(i), tensors[i].const_data_ptr(), tensors[i].nbytes());
            requireIntact(tensors[i]);
        }
        writer.writeEndOfFile();
        return true;
    });
}
