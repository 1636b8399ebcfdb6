import Foundation
import SwanMedia
import SwanModels
import SwanSystem
import SwanText
import Torch
import TorchNN

/// An integrity check of a model: every part opens and matches its network, all values are finite, the
/// tokenizer matches the text encoder, and the parts fit together. This reads all files.
public struct ModelVerification: Sendable, Encodable {
    /// One part of the model.
    public struct Part: Sendable, Encodable {
        /// `transformer`, `vae` and so on, as in `ModelInspection`.
        public let name: String
        /// The part's files.
        public let files: [File]
        /// The number of tensors and of parameters; nil for a tokenizer or a file that cannot be opened.
        public let tensors, parameters: Int?
        /// The problems that were found, each with the key concerned.
        public let problems: [String]

        /// Returns this part with the problem added, unless it is already listed.
        func with(_ problem: String) -> Part {
            Part(
                name: name,
                files: files,
                tensors: tensors,
                parameters: parameters,
                problems: problems.contains(problem) ? problems : problems + [problem]
            )
        }
    }

    /// One file of a part.
    public struct File: Sendable, Encodable {
        /// The file's path.
        public let path: String
        /// The file's size in bytes.
        public let bytes: Int
        /// The SHA-256 checksum in hexadecimal.
        public let sha256: String
    }

    /// The folder's path.
    public let path: String
    /// The parts that were found.
    public let parts: [Part]
    /// The problems of the model as a whole: parts that are missing or do not fit together.
    public let problems: [String]

    /// Whether no problems were found.
    public var isSound: Bool { problems.isEmpty && parts.allSatisfy { $0.problems.isEmpty } }

    /// A human-readable report, line by line.
    public var lines: [String] {
        let longest = ModelInspection.longestPath
        var lines = [path.printable(limit: longest)]
        for part in parts {
            let numbers = part.parameters.map { ", \($0) parameters" } ?? ""
            let facts = part.tensors.map { ": \($0) tensors\(numbers)" } ?? ""
            lines.append("  \(part.problems.isEmpty ? "ok  " : "BAD ")\(part.name)\(facts)")
            for file in part.files {
                let path = file.path.printable(limit: longest)
                lines.append("    \(file.sha256)  \(file.bytes)  \(path)")
            }
            lines += part.problems.flatMap { problem in
                problem.split(separator: "\n").map { "    PROBLEM: \($0)" }
            }
        }
        lines += problems.flatMap { problem in
            problem.split(separator: "\n").map { "  PROBLEM: \($0)" }
        }
        return lines + ["  " + (isSound ? "sound" : "NOT SOUND")]
    }

    /// Verifies a bundled model, given its name, or a model folder.
    ///
    /// - Parameters:
    ///   - nameOrPath: The name of a bundled model or the path of a folder.
    ///   - began: Called with the name of each part before it is read.
    public init(_ nameOrPath: String, began: (String) -> Void = { _ in }) throws {
        let folder = try ModelFolder(BundledModels.folder(nameOrPath) ?? nameOrPath)
        path = folder.path
        try folder.requireAddressSpace(inAdditionToFiles: 0, copies: 1)
        var checks = Checks(folder)
        var parts: [Part] = []
        for part in ModelFolder.Part.allCases {
            guard let files = folder.parts[part] else { continue }
            began(part.rawValue)
            parts.append(try checks.part(part, files))
        }
        self.parts = parts
        let seeing: [ModelFolder.Part] = checks.seesImages ? [.imageEncoder] : []
        let missing = folder.missing(of: ModelFolder.Part.ofEveryModel + seeing)
        problems =
            missing.map { "missing: \($0)" } + checks.mismatches(streams: folder.isCausal)
            + Self.problemsOfRunning(folder, checks)
    }

    /// The problems outside the weights that would stop a run: the streaming configuration,
    /// the solver settings.
    private static func problemsOfRunning(_ folder: ModelFolder, _ checks: Checks) -> [String] {
        do {
            guard folder.isCausal else {
                _ = try DiffusersSettings(folder)
                return []
            }
            let stream = try folder.configuration()
            guard let multiple = checks.sizeMultiple else { return [] }
            let (width, height) = stream.frameSize
            try FrameSize.check(height: height, width: width, multiple: multiple)
            return []
        } catch {
            return ["\(error)"]
        }
    }
}

/// The checks of a model's parts, which collect the sizes that must agree between parts.
private struct Checks {
    private let folder: ModelFolder
    private var transformer: WanConfig?
    private var vae: WanVAEConfig?
    private var textEncoder: UMT5Config?
    private var imageEncoder: CLIPVisionConfig?
    private var vocabulary: Int?
    /// The checksums so far: several parts may be in one file.
    private var sums: [String: String] = [:]

    init(_ folder: ModelFolder) { self.folder = folder }

    /// Whether the transformer is conditioned on CLIP image features.
    var seesImages: Bool { transformer?.imageDim != nil }

    /// The number that the frame width and height must be multiples of; nil unless the transformer
    /// and VAE were read.
    var sizeMultiple: Int? {
        guard let transformer, let vae else { return nil }
        return transformer.sizeMultiple(spatialStride: vae.spatialStride)
    }

    /// The mismatches between parts.
    func mismatches(streams: Bool) -> [String] {
        var found: [String] = []
        if let transformer, let vae {
            found =
                PartsFit(
                    transformer: transformer,
                    latentChannels: vae.zDim,
                    temporalStride: vae.temporalStride,
                    spatialStride: vae.spatialStride,
                    textEncoder: textEncoder,
                    imageEncoder: imageEncoder,
                    streams: streams
                ).problems
        }
        if let textEncoder, let vocabulary, vocabulary > textEncoder.vocabulary {
            found.append(
                "the tokenizer has \(vocabulary) pieces, but the text encoder's embedding has only "
                    + "\(textEncoder.vocabulary) rows"
            )
        }
        return found
    }

    mutating func part(
        _ part: ModelFolder.Part,
        _ files: ModelFolder.Files
    ) throws -> ModelVerification.Part {
        guard part != .tokenizer else { return try tokenizer(files.data) }
        let checkpoint: Checkpoint
        do {
            checkpoint = try folder.checkpoint(files)
        } catch {
            return try result(part, Self.summable(files.data), nil, ["\(error)"])
        }
        var problems = try checkpoint.notFinite().map { "not finite (NaN or infinite): \($0)" }
        problems += checkpoint.repeated
        do {
            try fit(part, files, checkpoint)
        } catch {
            // The report already lists the problems below their file.
            let message = "\(error)"
            problems.append(
                message.hasPrefix(files.data + ": ")
                    ? String(message.dropFirst(files.data.count + 2)) : message
            )
        }
        let result = try result(part, checkpoint.files, checkpoint, problems)
        // If a file changed in the meantime, the checksums are not those of the bytes that were checked.
        do {
            try checkpoint.requireUnchanged()
        } catch {
            return result.with("\(error)")
        }
        return result
    }

    /// Builds the network of a part. Its matrices stay in their file.
    private mutating func fit(
        _ part: ModelFolder.Part,
        _ files: ModelFolder.Files,
        _ checkpoint: Checkpoint
    ) throws {
        let source = try checkpoint.inWanNames()
        let weights = Weights(source, keepsStorage: true)
        switch part {
        case .transformer, .lowNoiseTransformer:
            let config = try WanConfig.read(files, fittedTo: source)
            if config.vaceLayers == nil {
                _ = try WanTransformer(weights, config)
            } else {
                _ = try WanVACETransformer(weights, config)
            }
            if part == .transformer { transformer = config }
        case .vae:
            let config = try WanVAEConfig.read(files, fittedTo: source)
            _ = try WanVAE(weights, config)
            vae = config
        case .textEncoder:
            let config = try UMT5Config.read(files, fittedTo: source)
            _ = try UMT5Encoder(weights, config)
            textEncoder = config
        case .imageEncoder:
            let config = try CLIPVisionConfig.read(files, fittedTo: source)
            _ = try CLIPVision(weights, config)
            imageEncoder = config
            return try weights.finish(ignoring: config.isUnused)
        case .tokenizer: return
        }
        try weights.finish()
    }

    private mutating func tokenizer(_ path: String) throws -> ModelVerification.Part {
        do {
            vocabulary = try Tokenizer(at: path).vocabularySize
            return try result(.tokenizer, [path], nil, [])
        } catch {
            return try result(.tokenizer, Self.summable(path), nil, ["\(error)"])
        }
    }

    /// The files to checksum if a part does not open: the file itself, unless it is missing or too large,
    /// as the nominal size of a sparse file can be terabytes.
    private static func summable(_ path: String) -> [String] {
        var status = stat()
        return stat(path, &status) == 0 && status.st_size < 1 << 36 ? [path] : []
    }

    private mutating func result(
        _ part: ModelFolder.Part,
        _ files: [String],
        _ checkpoint: Checkpoint?,
        _ problems: [String]
    ) throws -> ModelVerification.Part {
        var problems = problems
        var summed: [ModelVerification.File] = []
        for path in files {
            do {
                var status = stat()
                let bytes = stat(path, &status) == 0 ? Int(status.st_size) : 0
                let sum = try sums[path] ?? FileDigest.sha256(path)
                sums[path] = sum
                summed.append(ModelVerification.File(path: path, bytes: bytes, sha256: sum))
            } catch  where problems.isEmpty {
                problems.append("\(error)")
            } catch {
                // The reason why it cannot be opened is already listed.
            }
        }
        return ModelVerification.Part(
            name: part.rawValue,
            files: summed,
            tensors: checkpoint?.keys.count,
            parameters: checkpoint.map { checkpoint in
                checkpoint.keys.reduce(0) { sum, key in
                    sum + (checkpoint.shape(key)?.reduce(1, *) ?? 0)
                }
            },
            problems: problems
        )
    }
}
