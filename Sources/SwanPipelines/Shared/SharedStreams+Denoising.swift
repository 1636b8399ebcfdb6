import Foundation
import Torch

/// Denoises the chunks of all streams.
extension SharedStreams {
    func denoise() {
        let denoiser = SharedDenoiser(model, clock: clock, forward: forward)
        budget.divided(by: 2).apply()
        while let arrivals = arrivals(for: denoiser) {
            for (stream, error) in denoiser.run(arrivals, deliver: deliver) { end(stream, error) }
        }
    }

    /// Waits until the denoiser has something to do.
    private func arrivals(for denoiser: SharedDenoiser) -> SharedDenoiser.Arrivals? {
        condition.withLock {
            while isOpen {
                var arrivals = SharedDenoiser.Arrivals()
                arrivals.present = Set(streams.keys)
                for (id, state) in streams where state.canDenoise && !denoiser.isBusy(id) {
                    if let chunk = state.noised {
                        let deadline = state.deadline(of: chunk.tag.arrival)
                        arrivals.chunks.append((state.stream, chunk, deadline))
                        streams[id]?.noised = nil
                    } else if state.isEncoded, !state.isDrained {
                        arrivals.finishing.append(state.stream)
                    }
                }
                let departed = denoiser.streamIDs.subtracting(arrivals.present)
                if !arrivals.isEmpty || denoiser.hasWork || !departed.isEmpty {
                    condition.broadcast()
                    return arrivals
                }
                condition.wait()
            }
            return nil
        }
    }

    private func deliver(_ result: SharedDenoiser.Result) {
        switch result {
        case .clean(let stream, let chunk, let tag):
            update(stream) { $0.clean.append((chunk, tag)) }
        case .ran(let rows, let tokens, let seconds):
            condition.withLock { capacity.follow(rows: rows, tokens: tokens, took: seconds) }
        case .drained(let stream):
            update(stream) { $0.isDrained = true }
        }
    }
}
