import Foundation
import SwanCheckpoints
import SwanText
import Torch

/// Encodes the prompts of changes.
extension SharedStreams {
    /// Encodes the prompts of changes; of changes that come meanwhile, the latest wins.
    func prepareChanges() {
        budget.divided(by: 2).apply()
        while true {
            let job = next(
                where: { $0.requested != nil && !$0.isPreparing },
                due: \.encodingDeadline
            ) { state in
                state.isPreparing = true
                defer { state.requested = nil }
                return (state.stream, state.requested ?? StreamChange())
            }
            guard let (stream, change) = job else { return }
            do {
                let prepared = try prepared(change)
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

    private func prepared(_ change: StreamChange) throws -> PreparedChange {
        guard let prompts = change.prompts else { return PreparedChange(change: change) }
        let (embeddings, issues) = try inference { try model.embeddings(of: prompts) }
        return PreparedChange(change: change, embeddings: embeddings, issues: issues)
    }

    /// Throws for a change that the stream cannot take, before it is merged with others, which it must not
    /// take down.
    func check(_ change: StreamChange, of stream: SharedStream) throws {
        for prompt in change.prompts ?? [] where prompt.weight > 0 {
            _ = try model.tokens(of: prompt.text)
        }
        if let steps = change.steps {
            var configuration = model.configuration
            try configuration.keepSteps(steps)
        }
        try condition.withLock {
            guard let state = streams[stream.id] else { return }
            let wanted = state.demand.changed(by: change)
            guard wanted != state.demand else { return }
            try model.check(height: wanted.height, width: wanted.width)
            // What takes less time always fits.
            guard wanted.work > state.demand.work else { return }
            try requireRoom(for: wanted, besides: stream.id)
        }
    }
}
