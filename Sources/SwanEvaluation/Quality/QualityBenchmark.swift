import Foundation
import SwanCheckpoints
import SwanMedia
import SwanPipelines
import SwanSystem
import SwanTiny
import SwanTraining
import Torch

/// A benchmark of a streaming model's quality: figures, and the bounds they must meet.
///
/// Footage is streamed as in `swan stream`, and each chunk is compared with the same frames as rendered by
/// the exact filter of the style.
package struct QualityBenchmark {
    /// The progress of the benchmark.
    package struct Progress: Sendable, Equatable {
        /// A description of the part that is measured next.
        package let what: String
        /// The number of parts that are done, and of all parts.
        package let done, total: Int
    }

    /// The report before anything is measured.
    package let report: QualityReport
    private let options: QualityOptions
    private let stream: MeasuredStream
    private let styles: TaughtStyles
    private let clips: [QualityClip]

    /// Loads the model and decodes the footage.
    package init(_ options: QualityOptions) throws {
        try options.check()
        try options.files.check()
        if let sheet = options.sheet { try OutputPath.requireWritable(sheet) }
        self.options = options
        let paths = try options.inputs.isEmpty ? HeldOutFootage.paths() : options.inputs
        styles = try TaughtStyles(
            of: options.model,
            chosen: options.styles,
            looks: options.loras.map { try Style(ofLoRA: $0.path) }
        )
        let device = try Device(named: options.device)
        let folder = try ModelFolder(
            ModelLocation.path(options.model)
        )
        let configuration = try folder.configuration()
        let dtype = options.dtype ?? configuration.computeType(on: device)
        var streamOptions = StreamOptions(configuration)
        streamOptions.settings.seed = options.seed
        var model = try StreamModel.load(
            options.model,
            dtype: dtype,
            device: device,
            loras: options.loras
        )
        // Measure the model itself, including its response to prompts without a known look.
        model.styles = nil
        stream = MeasuredStream(model: model, options: streamOptions)
        clips = try paths.map {
            try QualityClip(
                $0,
                height: streamOptions.height,
                width: streamOptions.width,
                maxFrames: options.maxFrames
            )
        }
        let notes = options.inputs.isEmpty ? HeldOutFootage.clips.map(\.note) : []
        report = QualityReport(
            model: options.model,
            width: streamOptions.width,
            height: streamOptions.height,
            steps: streamOptions.configuration.steps,
            seed: options.seed,
            dtype: "\(dtype)",
            device: "\(device)",
            styles: styles.known.map(\.name),
            footage: zip(clips, notes).map { QualityReport.Footage(clip: $0.name, note: $1) }
        )
        try requireParts()
    }

    /// Throws if the model's styles leave nothing to measure.
    private func requireParts() throws(SwanError) {
        guard parts > 0 else {
            throw SwanError(
                .invalidRequest,
                "the model was trained on only one style: there are no prompt changes to measure"
            )
        }
    }

    /// Runs the benchmark, clip by clip.
    ///
    /// - Parameters:
    ///   - onProgress: Called before each part.
    ///   - onRow: Called with each row as soon as it is measured.
    package func run(
        onProgress: (Progress) -> Void,
        onRow: (QualityRow) -> Void
    ) throws -> QualityReport {
        var report = report
        var done = 0
        func add(_ what: String, _ measure: () throws -> QualityRow) throws {
            onProgress(Progress(what: what, done: done, total: parts))
            let row = try inference { try measure() }
            done += 1
            report.rows.append(row)
            onRow(row)
        }
        var sheet = StyleSheet()
        for (number, clip) in clips.enumerated() {
            if options.measures.contains(.vae) {
                let measure = AutoencoderMeasure(
                    model: stream.model,
                    chunkFrames: stream.chunkFrames
                )
                let others = clips.enumerated().filter { $0.offset != number }.map(\.element)
                try add("\(clip.name), autoencoder") { try measure.row(clip, others: others) }
            }
            if options.measures.contains(where: { $0 == .styles || $0 == .changes }) {
                try addStyles(clip, &sheet, add)
            }
            if options.measures.contains(.drift) {
                let style = driftStyle(number)
                try add("\(clip.name), \(style) for \(options.driftFrames) frames") {
                    try drift(clip, style)
                }
            }
        }
        if let path = options.sheet {
            try writePNG(sheet.frame(), path, replaces: options.overwrites)
        }
        return report
    }

    private var parts: Int {
        let ofClip = options.measures.map { measure in
            switch measure {
            case .vae, .drift: 1
            case .styles: styles.chosen.count
            case .changes: styles.chosen.count > 1 ? 1 : 0
            }
        }
        return clips.count * ofClip.reduce(0, +)
    }

    private func addStyles(
        _ clip: QualityClip,
        _ sheet: inout StyleSheet,
        _ add: (String, () throws -> QualityRow) throws -> Void
    ) throws {
        let targets = try StyleTargets(clip, styles: styles.known, count: clip.count)
        if options.measures.contains(.styles) {
            let shown = min(options.sheetFrame, clip.count - 1)
            var pictures = [try PixelMath.values(clip.pixels.narrowed(0, shown, 1))]
            for position in styles.chosen {
                let style = styles.known[position]
                try add("\(clip.name), \(style)") {
                    try self.style(clip, targets, position) { frame, output in
                        guard frame == shown, !style.changesNothing else { return }
                        pictures.append(output)
                    }
                }
            }
            sheet.rows.append(pictures)
        }
        if options.measures.contains(.changes), styles.chosen.count > 1 {
            try add("\(clip.name), changes of the prompt") { try changes(clip, targets) }
        }
    }
}

// MARK: - Streams

extension QualityBenchmark {
    /// Measures one style.
    ///
    /// - Parameter show: Called with the index and the output [1, 3, H, W] of each frame.
    private func style(
        _ clip: QualityClip,
        _ targets: StyleTargets,
        _ position: Int,
        show: (Int, Tensor) throws -> Void
    ) throws -> QualityRow {
        let all = QualityPrompts.prompts(for: targets.styles[position])
        let prompts = QualityPrompts.spread(
            options.isBare ? Array(all.prefix(1)) : all,
            over: clip.count
        )
        var measure = StyleMeasure(targets, position: position, prompts: prompts)
        try stream.run(clip, count: clip.count, prompts: prompts) { chunk in
            try measure.add(chunk)
            for (place, frame) in chunk.sources.enumerated() {
                try show(frame, chunk.output.narrowed(0, place, 1))
            }
        }
        return measure.row(clip: clip.name)
    }

    private func changes(_ clip: QualityClip, _ targets: StyleTargets) throws -> QualityRow {
        var measure = ChangeMeasure(targets, order: styles.chosen)
        let frames = clip.count
        try stream.run(
            clip,
            count: stream.firstFrame(ofChunk: measure.chunks),
            order: { QualityClip.swing($0, over: frames) },
            prompts: measure.prompts(in: stream)
        ) { try measure.add($0) }
        return measure.row(clip: clip.name)
    }

    private func drift(_ clip: QualityClip, _ style: Style) throws -> QualityRow {
        var measure = try DriftMeasure(clip, style: style, frames: options.driftFrames)
        let loop = measure.loop
        try stream.run(
            clip,
            count: measure.frames,
            order: { QualityClip.swing($0, over: loop) },
            prompts: [0: QualityPrompts.prompts(for: style)[0]]
        ) { try measure.add($0) }
        return measure.row(clip: clip.name)
    }

    /// Returns the style of the long stream for a clip; the styles take turns.
    private func driftStyle(_ clip: Int) -> Style {
        let chosen = styles.chosen.map { styles.known[$0] }
        let changing = chosen.filter { !$0.changesNothing }
        let turns = changing.isEmpty ? chosen : changing
        return turns[clip % turns.count]
    }
}
