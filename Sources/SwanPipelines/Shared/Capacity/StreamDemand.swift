import SwanCheckpoints
import SwanModels

/// What a stream asks of the model: frames of a size, at a rate, in a number of steps.
package struct StreamDemand: Sendable, Equatable {
    /// The size of the frames in pixels.
    package var width, height: Int
    /// The number of denoising steps.
    package var steps: Int
    /// The rate of the frames, in frames per second.
    package var framesPerSecond: Double

    /// Creates a demand.
    package init(width: Int, height: Int, steps: Int, framesPerSecond: Double) {
        (self.width, self.height, self.steps) = (width, height, steps)
        self.framesPerSecond = framesPerSecond
    }

    /// Creates the demand of a stream with these options.
    package init(_ options: StreamOptions, framesPerSecond: Double) {
        self.init(
            width: options.width,
            height: options.height,
            steps: options.configuration.steps.count,
            framesPerSecond: framesPerSecond
        )
    }

    /// Creates the demand of the model's own size, steps and rate.
    package init(ownOf model: StreamModel) {
        self.init(
            StreamOptions(model.configuration),
            framesPerSecond: model.configuration.fps ?? StreamModel.usualFramesPerSecond
        )
    }

    /// The least that a stream may reasonably ask of a model: a quarter of its sides, one step, and
    /// half its rate.
    package static func least(of model: StreamModel) -> StreamDemand {
        var least = StreamDemand(ownOf: model)
        least.scale(by: 0.25, multiple: model.sizeMultiple)
        least.steps = 1
        least.framesPerSecond /= 2
        return least
    }

    /// The demand after a change.
    func changed(by change: StreamChange?) -> StreamDemand {
        var changed = self
        changed.width = change?.width ?? width
        changed.height = change?.height ?? height
        changed.steps = change?.steps ?? steps
        return changed
    }

    /// A measure of the time that it takes.
    var work: Double { Double(width * height * steps) }

    /// Scales both sides, to multiples of `multiple`.
    mutating func scale(by factor: Double, multiple: Int) {
        func scaled(_ side: Int) -> Int {
            max(1, Int((Double(side) * factor / Double(multiple)).rounded())) * multiple
        }
        (width, height) = (scaled(width), scaled(height))
    }

    /// Smaller demands, the ones that change less first: fewer steps, then smaller sizes, then half the
    /// rate.
    func alternatives(multiple: Int) -> [StreamDemand] {
        var found: [StreamDemand] = []
        for rate in [framesPerSecond, framesPerSecond / 2] {
            for factor in [1, 0.75, 0.5, 0.375, 0.25] {
                var smaller = self
                smaller.framesPerSecond = rate
                if factor < 1 { smaller.scale(by: factor, multiple: multiple) }
                for steps in stride(from: steps, through: 1, by: -1) {
                    smaller.steps = steps
                    if smaller != self { found.append(smaller) }
                }
            }
        }
        return found
    }
}

extension StreamModel {
    /// The frame rate of models that do not specify theirs.
    package static let usualFramesPerSecond = 16.0
}

extension StreamDemand: CustomStringConvertible {
    /// For people: `256x256 at 16 fps in 2 steps`.
    package var description: String {
        let rate = (framesPerSecond * 10).rounded() / 10
        let fps = rate == rate.rounded() ? "\(Int(rate))" : "\(rate)"
        return "\(width)x\(height) at \(fps) fps in \(steps) \(steps == 1 ? "step" : "steps")"
    }
}

/// Why a stream does not fit beside those that run.
package struct CapacityError: Error, Equatable, CustomStringConvertible {
    /// What was asked for.
    package let demand: StreamDemand
    /// The largest smaller demand that would fit, if any does.
    package let fits: StreamDemand?
    /// The number of streams that run.
    package let streams: Int
    /// Whether streams run one at a time, whatever they ask for.
    package let takesTurns: Bool

    init(demand: StreamDemand, fits: StreamDemand?, streams: Int, takesTurns: Bool = false) {
        (self.demand, self.fits, self.streams) = (demand, fits, streams)
        self.takesTurns = takesTurns
    }

    /// What is wrong, and what would be right.
    package var description: String {
        if takesTurns {
            return
                "the ranks of this server run one session at a time, of any size; try again when "
                + "it has ended."
        }
        let others = streams == 1 ? "the session that runs" : "the \(streams) sessions that run"
        let reason = "\(demand) would slow down \(others)"
        guard let fits else { return reason + "; try again when one has ended." }
        return reason + "; \(fits) would fit."
    }
}
