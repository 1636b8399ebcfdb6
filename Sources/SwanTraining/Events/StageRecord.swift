package import Foundation
import SwanMedia
import SwanSystem

/// Records the progress of a stage: curves and sample sheets in TensorBoard's event files, and the
/// sheets also as PNG files.
///
/// Each stage is a separate run below `events`, because when a run is resumed, readers discard
/// everything in it from that step on. Whether a point is written depends on the step alone.
package final class StageRecord {
    /// The number of steps between the points of a curve.
    private static let stepsPerPoint = 10

    private let stage: String
    private let events: URL
    private let sheets: URL
    private let options: SampleOptions
    private var file: EventFile?
    private var means = RunningMeans()
    private var learningRates: [String: Double] = [:]
    private var skipped: [String: Double] = [:]
    private var steps = 0
    private var since = ContinuousClock.now

    /// Creates the record of `stage` in a model's folder.
    ///
    /// - Parameter sheets: The folder of the sheets' PNG files; nil for `samples`.
    package init(
        _ stage: String,
        in folder: URL,
        _ options: SampleOptions,
        sheets: URL? = nil
    ) {
        self.stage = stage
        self.options = options
        events = folder.appending(path: "events").appending(path: stage)
        self.sheets = sheets ?? folder.appending(path: "samples")
    }

    /// Starts a new event file, whose first step follows `step`.
    func begin(after step: Int) throws {
        let file = try EventFile(in: events)
        try file.write(.start, step: step + 1)
        self.file = file
        since = .now
    }

    /// Records a step.
    ///
    /// - Parameter roles: The trained roles. If there are several, the names of a role's gradient
    ///   norm, learning rate and number of skipped updates are prefixed with its name.
    func add(_ step: StepNumbers, roles: [String]) {
        means.add(step.losses)
        for (role, update) in step.updates {
            let prefix = roles.count > 1 ? role + "_" : ""
            // A norm that is not finite is no point of a curve: the update was skipped.
            if update.gradientNorm.isFinite {
                means.add([prefix + "gradient_norm": update.gradientNorm])
            }
            if update.skipped > 0 { skipped[prefix + "skipped_updates"] = Double(update.skipped) }
            learningRates[prefix + "learning_rate"] = update.learningRate
        }
        steps += 1
    }

    /// Writes the points and sheets that are due after a step.
    ///
    /// - Parameters:
    ///   - isLast: Whether it is the last step of the stage.
    ///   - samples: Draws sheets; called only when they are due.
    ///   - measures: Measures what curves show besides; called after `samples`.
    func write(
        after step: Int,
        isLast: Bool,
        samples: () throws -> [SampleSheet],
        measures: () throws -> [String: Double] = { [:] }
    ) throws {
        if step.isMultiple(of: Self.stepsPerPoint) || isLast { try writePoints(step) }
        guard drawsSamples(after: step, isLast: isLast) else { return }
        let began = ContinuousClock.now
        for sheet in try samples() { try write(sheet, step) }
        let points = try measures()
        if !points.isEmpty { try write(points, step) }
        // Exclude the time spent here from the seconds per step.
        since += .now - began
    }

    /// Whether sheets are due after a step.
    func drawsSamples(after step: Int, isLast: Bool) -> Bool {
        options.clips > 0 && (step.isMultiple(of: options.everySteps) || isLast)
    }

    /// Flushes the event file.
    func end() { file?.sync() }

    private func writePoints(_ step: Int) throws {
        guard steps > 0 else { return }
        var points = means.take()
        points.merge(learningRates) { _, rate in rate }
        points.merge(skipped) { _, count in count }
        points["seconds_per_step"] = (.now - since) / .seconds(steps)
        try write(points, step)
        steps = 0
        since = .now
    }

    private func write(_ points: [String: Double], _ step: Int) throws {
        let values = points.sorted { $0.key < $1.key }.map { name, value in
            TrainingEvent.Value.scalar(tag: "\(stage)/\(name)", Float(value))
        }
        try file?.write(.summary(values), step: step)
    }

    private func write(_ sheet: SampleSheet, _ step: Int) throws {
        let picture = try sheet.png()
        let figures = sheet.figures.sorted { $0.key < $1.key }.map { name, value in
            TrainingEvent.Value.scalar(tag: "\(stage)/\(name)", Float(value))
        }
        let image = TrainingEvent.Value.image(
            tag: "\(stage)/\(sheet.name)",
            picture,
            caption: sheet.caption
        )
        try file?.write(.summary([image] + figures), step: step)
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
