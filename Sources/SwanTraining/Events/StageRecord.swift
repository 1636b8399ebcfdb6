package import Foundation
import SwanMedia
import SwanSystem

/// What a stage leaves for people to watch it by: curves and sample sheets in TensorBoard's event
/// files, and the sheets as pictures too.
///
/// Each stage is a run of its own below `events`, since what a reader forgets when a run goes on is
/// everything in it from that step on. When a point is written depends on the step alone.
package final class StageRecord {
    /// Steps from one point of a curve to the next.
    private static let stepsPerPoint = 10

    private let stage: String
    private let events: URL
    private let sheets: URL
    private let options: SampleOptions
    private var file: EventFile?
    private var means = RunningMeans()
    private var learningRates: [String: Double] = [:]
    private var steps = 0
    private var since = ContinuousClock.now

    /// The record of `stage` below the folder of a model.
    package init(_ stage: String, in folder: URL, _ options: SampleOptions) {
        self.stage = stage
        self.options = options
        events = folder.appending(path: "events").appending(path: stage)
        sheets = folder.appending(path: "samples")
    }

    /// Begins a file, whose first step is the one after `step`.
    func begin(after step: Int) throws {
        let file = try EventFile(in: events)
        try file.write(.start, step: step + 1)
        self.file = file
        since = .now
    }

    /// Takes note of a step.
    ///
    /// - Parameter roles: the trained roles. Where there are several, the names of a role's gradient norm
    ///   and learning rate begin with its name.
    func add(_ step: StepNumbers, roles: [String]) {
        means.add(step.losses)
        for (role, update) in step.updates {
            let prefix = roles.count > 1 ? role + "_" : ""
            means.add([prefix + "gradient_norm": update.gradientNorm])
            learningRates[prefix + "learning_rate"] = update.learningRate
        }
        steps += 1
    }

    /// Writes what is due after a step.
    ///
    /// - Parameters:
    ///   - isLast: whether it is the stage's last.
    ///   - samples: draws sheets; called when they are due.
    func write(after step: Int, isLast: Bool, samples: () throws -> [SampleSheet]) throws {
        if step.isMultiple(of: Self.stepsPerPoint) || isLast { try writePoints(step) }
        guard options.clips > 0, step.isMultiple(of: options.everySteps) || isLast else { return }
        let began = ContinuousClock.now
        for sheet in try samples() { try write(sheet, step) }
        // A step's time is that of training.
        since += .now - began
    }

    /// Ends the file.
    func end() { file?.sync() }

    private func writePoints(_ step: Int) throws {
        guard steps > 0 else { return }
        var points = means.take()
        points.merge(learningRates) { _, rate in rate }
        points["seconds_per_step"] = (.now - since) / .seconds(steps)
        let values = points.sorted { $0.key < $1.key }.map { name, value in
            TrainingEvent.Value.scalar(tag: "\(stage)/\(name)", Float(value))
        }
        try file?.write(.summary(values), step: step)
        steps = 0
        since = .now
    }

    private func write(_ sheet: SampleSheet, _ step: Int) throws {
        let picture = try sheet.png()
        try file?.write(
            .summary([.image(tag: "\(stage)/\(sheet.name)", picture, caption: sheet.caption)]),
            step: step
        )
        let number = String(format: "%08d", step)
        let parts = [stage] + (sheet.name == SampleSheet.usualName ? [] : [sheet.name]) + [number]
        let url = sheets.appending(path: parts.joined(separator: "-") + ".png")
        do {
            try FileManager.default.createDirectory(at: sheets, withIntermediateDirectories: true)
            try OutputPath.write(picture.bytes, to: url.path)
        } catch let error as CocoaError {
            throw SwanError(writing: url.path, error)
        }
    }
}
