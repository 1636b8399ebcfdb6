#include "CSentencePiece.h"

#include <sentencepiece_trainer.h>

#include <sstream>
#include <stdexcept>
#include <string>
#include <unordered_map>
#include <vector>

#include "guard.h"

using sentencepiece::SentencePieceTrainer;
using sentencepiece::util::Status;

namespace {

/// Passes the lines of a text to the trainer one by one, which avoids a temporary file.
class Lines final : public sentencepiece::SentenceIterator {
  public:
    explicit Lines(const std::string &text) {
        std::istringstream stream(text);
        for (std::string line; std::getline(stream, line);) lines_.push_back(line);
    }

    bool done() const override { return next_ >= lines_.size(); }
    void Next() override { next_++; }
    const std::string &value() const override { return lines_[next_]; }
    Status status() const override { return Status(); }

  private:
    std::vector<std::string> lines_;
    size_t next_ = 0;
};

}  // namespace

bool csp_train(const char *sentences, size_t length, const char *options, void **model,
               size_t *model_size, char *error, size_t error_size) {
    return csp::guarded(error, error_size, [&]() -> Status {
        std::unordered_map<std::string, std::string> arguments;
        std::istringstream stream{std::string(options)};
        for (std::string line; std::getline(stream, line);) {
            const size_t equals = line.find('=');
            if (equals == std::string::npos) {
                throw std::invalid_argument("'" + line + "' is not name=value");
            }
            arguments[line.substr(0, equals)] = line.substr(equals + 1);
        }
        Lines lines(std::string(sentences, length));
        std::string trained;
        const Status status = SentencePieceTrainer::Train(arguments, &lines, &trained);
        if (!status.ok()) return status;
        *model = csp::copied(trained.data(), trained.size());
        *model_size = trained.size();
        return status;
    });
}
