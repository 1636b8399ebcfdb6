import SwanCheckpoints
import SwanText
import Torch

/// Encodes the prompts of changes.
extension SharedStreams {
    /// Encodes the prompts of changes; of changes that come meanwhile, the latest wins.
    func prepareChanges() {
        budget.divided(by: 2).apply()
        while true {
            let job = next(where: { $0.requested != nil && !$0.isPreparing }) { state in
                state.isPreparing = true
                defer { state.requested = nil }
                return (state.stream, state.options, state.requested ?? StreamChange())
            }
            guard let (stream, options, change) = job else { return }
            do {
                let prepared = try prepared(change, options)
                update(stream) { state in
                    state.isPreparing = false
                    if state.prepared == nil {
                        state.prepared = prepared
                    } else {
                        state.prepared?.merge(prepared)
                    }
                }
            } catch {
                update(stream) { $0.isPreparing = false }
                stream.report(.refused(event: change.event, error))
            }
        }
    }

    private func prepared(
        _ change: StreamChange,
        _ options: StreamOptions
    ) throws -> PreparedChange {
        if let steps = change.steps {
            var configuration = model.configuration
            try configuration.keepSteps(steps)
        }
        guard let prompts = change.prompts else { return PreparedChange(change: change) }
        let (embeddings, issues) = try inference { try model.embeddings(of: prompts) }
        return PreparedChange(change: change, embeddings: embeddings, issues: issues)
    }
}
