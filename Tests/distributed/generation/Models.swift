import Foundation
import ModelSupport
import RankSupport
import SwanDistributed
import SwanMedia
import SwanPipelines
import SwanSystem
import SwanThreads
import Torch

/// What a generation returns.
struct Generated {
    let video: GeneratedVideo
    let frames: [VideoFrame]
}

extension Probe {
    /// Every generating model, on ranks and on one process.
    func checkModels() throws {
        for model in RandomCheckpoint.Model.allCases {
            let generator = try open(model)
            try check(generator, Self.request(for: model), model.rawValue)
        }
    }

    /// One model with every way of dividing the work.
    func checkDivisions() throws {
        let generator = try open(.textToVideo)
        var request = try Self.request(for: .textToVideo)
        request.settings.steps = 4
        request.initialLatents = try .randn([1, 16, 2, 12, 8], Generator(seed: 7))
        var cached = request
        cached.settings.cacheThreshold = 0.95
        try check(generator, cached, "a cache", reuses: true)
        if world.size == 2 || world.size == 4 {
            var division = GenerationRanks.Division()
            division.dividesGuidance = true
            try check(generator, request, "guidance on two groups", division)
            // Each branch decides alone whether to reuse a step.
            cached.settings.batchesGuidance = false
            try check(generator, cached, "guidance with a cache", division, reuses: true)
        }
        for ulysses in 1...2 where world.size.isMultiple(of: ulysses) {
            var division = GenerationRanks.Division()
            (division.ulysses, division.ring) = (ulysses, world.size / ulysses)
            try check(generator, request, "\(ulysses) ranks exchange heads", division)
        }
        for (vae, tiles) in [("tiny", false), ("tiny-decoder", false), (nil, true)] {
            let other = try open(.imageToVideo) { options in
                (options.vae, options.tilesVAE) = (vae, tiles)
            }
            var request = try Self.request(for: .imageToVideo)
            request.settings.steps = 1
            // More than one tile.
            if tiles { request.settings.size = .init(width: 32, height: 272) }
            try check(other, request, "autoencoder \(vae ?? "in tiles")")
        }
    }

    /// Sizes smaller than the number of ranks, blocks read late, and ranks that stop or differ.
    func checkEdges() throws {
        let generator = try open(.textToVideo) { $0.offload = .block }
        var request = try Self.request(for: .textToVideo)
        for size in [(16, 16), (16, 48), (80, 48)] {
            request.settings.size = .init(width: size.0, height: size.1)
            try check(generator, request, "\(size)")
        }
        request.settings.previewInterval = 1
        try check(generator, request, "previews")
        try checkStop(generator, request)
        try checkDifference(generator, request)
    }

    /// The last rank runs out of memory after a step, while the others go on.
    func fail(_ division: GenerationRanks.Division) throws {
        let model = try open(.textToVideo)
        var request = try Self.request(for: .textToVideo)
        request.settings.steps = 50
        let ranks = GenerationRanks(world, division)
        _ = try VideoGenerator(model, ranks: ranks).generate(request) { event in
            if case .step(2, _, _) = event, world.rank == world.size - 1 {
                throw SwanError(.outOfMemory, "no memory for 3 GB")
            }
        }
    }

    // MARK: - Parts

    /// A generation model that rank 0 writes.
    func open(
        _ kind: RandomCheckpoint.Model,
        _ layout: RandomCheckpoint.Layout = .diffusers,
        _ change: (inout GenerationOptions) -> Void = { _ in }
    ) throws -> GenerationModel {
        let path = "\(folder)/\(kind.rawValue)-\(layout)"
        if world.rank == 0, !FileManager.default.fileExists(atPath: path) {
            _ = try RandomCheckpoint(kind, layout, at: path)
        }
        try world.group.barrier()
        var options = GenerationOptions()
        (options.device, options.dtype) = ("cpu", .float32)
        change(&options)
        return try GenerationModel(path, options: options)
    }

    /// Generates on ranks and on this process alone, and compares.
    func check(
        _ model: GenerationModel,
        _ request: GenerationRequest,
        _ what: String,
        _ division: GenerationRanks.Division = .init(),
        reuses: Bool = false
    ) throws {
        let alone = try generate(VideoGenerator(model), request)
        let ranks = GenerationRanks(world, division)
        let found = try generate(VideoGenerator(model, ranks: ranks), request)
        try check(found.video.latents, alone.video.latents, within: 1e-5, "\(what): latents")
        try check(found.frames.count == alone.frames.count, "\(what): frames")
        for (a, b) in zip(found.frames, alone.frames) {
            let difference = zip(a.pixels, b.pixels).map { abs(Int($0) - Int($1)) }.max() ?? 255
            try check(difference <= 1, "\(what): pixels differ by \(difference)")
        }
        let (steps, others) = (found.video.reusedSteps, alone.video.reusedSteps)
        try check(steps == others, "\(what): \(steps) steps reused, not \(others)")
        try check(reuses == (steps > 0), "\(what): \(steps) steps reused")
    }

    func generate(
        _ generator: VideoGenerator,
        _ request: GenerationRequest
    ) throws -> Generated {
        var frames: [VideoFrame] = []
        let video = try generator.generate(request) { event in
            if case .frames(let part, _) = event { frames += part }
        }
        return Generated(video: video, frames: frames)
    }

    /// All ranks stop in the same step when the last one is asked to, with its exit code.
    private func checkStop(_ model: GenerationModel, _ request: GenerationRequest) throws {
        var request = request
        request.settings.steps = 50
        let isAsked = world.rank == world.size - 1
        let ranks = GenerationRanks(world)
        ranks.reads(signal: { isAsked ? 143 : nil })
        let stop = CancellationFlag()
        var last = 0
        do {
            _ = try VideoGenerator(model, ranks: ranks).generate(request, stop: stop) { event in
                guard case .step(let step, _, _) = event else { return }
                last = step
                if isAsked, step == 2 { stop.cancel() }
            }
            try check(false, "the generation goes on")
        } catch is CancellationError {
            try check(last == 2, "stopped after step \(last)")
            try check(ranks.stopCode == 143, "exit code \(ranks.stopCode ?? 0)")
        }
    }

    /// Ranks with different requests end with an error that names the difference.
    private func checkDifference(_ model: GenerationModel, _ request: GenerationRequest) throws {
        guard world.size > 1 else { return }
        var request = request
        if world.rank == world.size - 1 { request.settings.steps = 3 }
        let ranks = GenerationRanks(world)
        do {
            _ = try VideoGenerator(model, ranks: ranks).generate(request) { _ in }
            try check(false, "ranks with different steps go on")
        } catch let error as SwanError where error.code == .peersDiffer {
            try check(error.message.contains("the solver is unipc, 3 steps"), error.message)
            throw error
        }
    }

    /// Five frames in two steps, with the pictures that the model needs.
    static func request(
        for model: RandomCheckpoint.Model
    ) throws -> GenerationRequest {
        var request = GenerationRequest(prompt: "a cat")
        request.settings.size = .init(width: 64, height: 96)
        (request.settings.frames, request.settings.steps) = (5, 2)
        switch model {
        case .textToVideo: break
        case .textToVideoExperts: request.settings.boundary = 0.9
        case .imageToVideo, .textOrImageToVideo: request.image = try picture(3)
        case .imageToVideoExperts:
            (request.image, request.lastImage) = (try picture(3), try picture(4))
        case .firstLastFrameToVideo:
            (request.image, request.lastImage) = (try picture(3), try picture(5))
        case .controlToVideo:
            var control = GenerationRequest.Control()
            control.video = try (0..<5).map { try picture($0) }
            control.references = [try picture(7)]
            request.control = control
        }
        return request
    }

    /// A picture whose pattern depends on `shade`.
    private static func picture(_ shade: Int) throws -> VideoFrame {
        let (width, height) = (70, 50)
        let pixels = (0..<(3 * width * height)).map {
            UInt8(truncatingIfNeeded: ($0 / 3) * (shade + 1))
        }
        return try VideoFrame(width: width, height: height, pixels: pixels)
    }
}
