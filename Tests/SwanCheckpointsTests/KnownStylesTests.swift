import Foundation
import GoldenSupport
import SwanMedia
import SwanSystem
import SwanText
import Testing
import Torch

import SwanPipelines
@testable import SwanCheckpoints

/// Matches prompts with the looks that a model knows.
@Suite struct KnownStylesTests {
    private static let tiny = Result { try KnownStyles.ofModel("tiny") }
    private let looks: KnownStyles

    init() throws { looks = try #require(try Self.tiny.get()) }

    // MARK: - Prompts

    @Test func matchesEveryPhraseAloneAndInASentence() {
        #expect(looks.known.count == 8)
        for phrase in looks.known.flatMap({ [$0.name] + $0.phrases }) {
            for prompt in [
                phrase, phrase.uppercased(), phrase.capitalized, " \(phrase)!", "a \(phrase)",
                "two friends on their way home, \(phrase)", "turn this into \(phrase), please",
                "Everything the camera sees here as \(phrase).", "(\(phrase):1.3), 4k",
            ] {
                #expect(looks.recognizes(prompt), "\(prompt)")
            }
        }
    }

    @Test(
        arguments: [
            "pencil-sketch", "pixel-art", "PIXEL  ART", "8 bit", "8bit, 8-bit", "comics",
            "cartoons",
            "sketches", "a pencil of a house", "drawn with pencils",
            "in the style of a comic-book",
            "an 8-bit street", "a street at midnight", "neon sepia comic", "seen by infrared",
            "autumn’s colours", "“sepia”", "ｓｅｐｉａ", "sepia\ntone", "not only neon",
            "nothing but neon",
        ]
    )
    func matchesSpellingVariants(prompt: String) {
        #expect(looks.recognizes(cleanPrompt(prompt)))
    }

    /// Declined looks are removed if the prompt also asks for another look. Other prompts do not
    /// change.
    @Test(arguments: [
        ("no neon, sepia", "sepia"), ("without neon, in sepia", "sepia"),
        ("pencil sketch, not sepia", "pencil sketch"), ("remove the night, autumn", "autumn"),
        ("comic and pixel art but no neon", "comic, pixel art"),
        ("a pencil sketch of a cat", "a pencil sketch of a cat"),
        ("neon sepia", "neon sepia"), ("nothing but neon", "nothing but neon"),
    ])
    func removesDeclinedLooks(prompt: String, wanted: String) {
        #expect(looks.recognizes(prompt))
        #expect(looks.requested(in: prompt) == wanted)
    }

    @Test(arguments: ["anything but sepia", "sepia-free", "less sepia", "remove the night"])
    func ignoresPromptsThatOnlyDecline(prompt: String) {
        #expect(!looks.recognizes(prompt))
    }

    @Test(
        arguments: [
            "Van Gogh", "in the style of Van Gogh", "cyberpunk", "anime", "watercolor",
            "oil painting", "a photo of a dog", "a photograph of my old camera", "old", "camera",
            "edges", "lines", "art", "pop", "book", "a game of football", "leaves on a tree",
            "a red car in the light of the moon", "ukiyo-e print", "claymation", "lego",
            "steampunk",
            "hologram", "x-ray", "a street at dusk", "a cat on a sofa", "make it beautiful",
            "a drawing of a house", "a moonlit street", "crépuscule", "dessin au crayon",
            "Bleistiftzeichnung", "夜の街", "鉛筆スケッチ", "ночь",
            "ليلة", "🎨", "🌃 🌙", "zxqv 42", "-o dash", "...", "neonatal care", "an artist",
            "knightly", "fortnight", "autumnal", "sketchy", "comical", "s e p i a",
        ]
    )
    func ignoresUnrelatedPrompts(prompt: String) {
        #expect(!looks.recognizes(prompt))
    }

    @Test(
        arguments: [
            "no neon", "no neon, please", "not a sketch", "without sepia", "don't make it a comic",
            "do not turn this into pixel art", "never at night", "non-sepia", "isn't sepia",
        ]
    )
    func doesNotMatchDeclinedLooks(prompt: String) {
        #expect(!looks.recognizes(prompt))
        #expect(looks.recognizes(prompt + ", but autumn"))
    }

    @Test func matchesRequestsForNoChange() {
        for prompt in looks.noChange {
            #expect(looks.recognizes(prompt) && looks.recognizes(prompt.uppercased() + "."))
        }
    }

    @Test(
        arguments: [
            ("sepai", "sepia"), ("Neom edges", "neon edges"), ("a penicl drwaing", "pencil"),
            ("termal camera", "thermal camera"), ("autum", "autumn"), ("at nihgt", "at night"),
            ("pixelart", "pixel art"), ("cartooon", "cartoon"), ("fall colors", "fall colours"),
        ]
    )
    func suggestsTheLookForAMisspelling(prompt: String, meant: String) {
        guard case .unknownStyle(_, _, let suggestion) = looks.issue(with: prompt) else {
            Issue.record("\(prompt) matches a look")
            return
        }
        #expect(suggestion == meant)
    }

    @Test(arguments: ["Van Gogh", "soft light", "a dog", "watercolor", "cyberpunk", "夜", "a b c d"])
    func suggestsNothingForUnrelatedPrompts(prompt: String) {
        let issue = looks.issue(with: prompt)
        #expect(
            issue
                == .unknownStyle(
                    prompt: prompt,
                    known: looks.known.map(\.name),
                    suggestion: nil
                )
        )
    }

    @Test func warningListsTheLooksAndTruncatesLongPrompts() throws {
        let issue = try #require(looks.issue(with: "Van Gogh"))
        #expect(
            "\(issue)" == """
                "Van Gogh" matches no style that this model knows, so the video is left unchanged; known styles: \
                pencil sketch, neon edges, thermal camera, at night, sepia, comic, pixel art, autumn
                """
        )
        let long = try #require(
            looks.issue(with: String(repeating: "very ", count: 100_000) + "sepai")
        )
        #expect("\(long)".count < 300)
    }

    // MARK: - The model's file

    @Test(
        arguments: [
            ("3", "must have the keys"), ("[]", "must have the keys"),
            ("{no_change: [none]}", "known must be a list of 1 to 256 looks"),
            ("{no_change: [none], known: []}", "known must be a list of 1 to 256 looks"),
            ("{no_change: [], known: [{name: a, phrases: [b]}]}", "no_change must be a list"),
            ("{no_change: none, known: [{name: a, phrases: [b]}]}", "no_change must be a list"),
            ("{no_change: [none], known: [a]}", "must have the keys"),
            ("{no_change: [none], known: [{name: a}]}", "the phrases of a look must be a list"),
            ("{no_change: [none], known: [{name: [a], phrases: [b]}]}", "a name must be text"),
            (
                "{no_change: [none], known: [{name: a, phrases: [{}]}]}",
                "must be text of 1 to 200"
            ),
            (
                "{no_change: [none], known: [{name: a, phrases: ['']}]}",
                "must be text of 1 to 200"
            ),
            ("{no_change: [none], known: [{name: a, words: [b]}]}", "not 'words'"),
            ("{none: [none], known: [{name: a, phrases: [b]}]}", "not 'none'"),
        ]
    )
    func saysWhatIsWrongWithAList(yaml: String, words: String) {
        let error = #expect(throws: SwanError.self) {
            try StreamConfiguration(yaml: "looks: \(yaml)", name: "stream.yaml")
        }
        #expect(error?.code == .invalidConfiguration)
        #expect(error?.message.hasPrefix("stream.yaml: looks: ") == true)
        #expect(error?.message.contains(words) == true, "\(error?.message ?? "")")
    }

    @Test func limitsTheLengthOfLists() {
        let phrase = String(repeating: "x", count: 201)
        let look = "{name: a, phrases: [b]}"
        for yaml in [
            "{no_change: [none], known: [{name: a, phrases: [\(phrase)]}]}",
            "{no_change: [none], known: [\(Array(repeating: look, count: 257).joined(separator: ","))]}",
            "{no_change: [\(Array(repeating: "a", count: 257).joined(separator: ","))], known: [\(look)]}",
        ] {
            #expect(throws: SwanError.self) {
                try StreamConfiguration(yaml: "looks: \(yaml)", name: "stream.yaml")
            }
        }
    }

    @Test func modelsWithoutAListAcceptAnyPrompt() throws {
        #expect(try StreamConfiguration(yaml: "noise_scale: 0.5", name: "x").styles == nil)
        #expect(StreamConfiguration().styles == nil)
    }

    // MARK: - The bundled model

    @Test func unknownPromptsLeaveTheVideoUnchanged() throws {
        let model = try StreamModel.load("tiny", dtype: .float32, device: .cpu)
        let clip = try self.clip(21)
        // A new prompt shows at once where the input stands still, so both change at the same frames.
        let plain = try run(model, "no change", clip, later: [9: "no change", 13: "no change"])
        let unknown = try run(model, "Van Gogh", clip, later: [9: "a photo of a dog", 13: "ночь"])
        #expect(plain.frames.map(\.pixels) == unknown.frames.map(\.pixels))
        #expect(plain.issues.isEmpty && unknown.issues.count == 3)
        // The output is close to the input. Without the list of looks it is not.
        let kept = zip(clip, unknown.frames).map { distance($0, $1) }
        #expect(kept.allSatisfy { $0 < 200 }, "\(kept)")
        var deaf = model
        deaf.styles = nil
        let heard = try run(deaf, "a photo of a dog", Array(clip.prefix(9)))
        #expect(heard.issues.isEmpty)
        #expect(distance(clip[8], heard.frames[8]) > 400)
    }

    @Test func knownPromptsReachTheModelUnchanged() throws {
        let model = try StreamModel.load("tiny", dtype: .float32, device: .cpu)
        var deaf = model
        deaf.styles = nil
        let clip = try self.clip(9)
        for prompt in ["a pencil sketch", "Two friends, vintage SEPIA photo!", "neon and comic"] {
            let (a, b) = (try run(model, prompt, clip), try run(deaf, prompt, clip))
            #expect(a.issues.isEmpty)
            #expect(a.frames.map(\.pixels) == b.frames.map(\.pixels))
        }
    }

    /// Text after the last token that the model accepts does not count.
    @Test func ignoresLooksInTheTruncatedText() throws {
        let model = try StreamModel.load("tiny", dtype: .float32, device: .cpu)
        let words = String(repeating: "two friends on their way home, ", count: 30)
        #expect(try model.conditioning("sepia, " + words).issues.count == 1)
        let issues = try model.conditioning(words + "sepia").issues
        #expect(issues.count == 2)
        #expect(issues.contains { if case .unknownStyle = $0 { true } else { false } })
    }

    @Test func anotherConfigurationKeepsTheLooks() throws {
        let folder = try TemporaryDirectory()
        let file = try folder.file(
            "other.yaml",
            text: "denoising_step_list: [200, 0]\nnum_kv_cache: 3\nnum_sink_tokens: 0"
        )
        let model = try StreamModel.load(
            "tiny",
            dtype: .float32,
            device: .cpu,
            configuration: file
        )
        #expect(model.configuration.styles == nil && model.styles == looks)
    }

    private func run(
        _ model: StreamModel,
        _ prompt: String,
        _ clip: [VideoFrame],
        later: [Int: String] = [:]
    ) throws -> (frames: [VideoFrame], issues: [PromptIssue]) {
        let options = StreamOptions(model.configuration, height: 64, width: 64)
        let stream = try VideoStream(model, prompt: prompt, options: options)
        var out: [VideoFrame] = []
        var issues = stream.promptIssues
        for (index, frame) in clip.enumerated() {
            if let prompt = later[index] { issues += try stream.setPrompt(prompt) }
            out += try stream.push(frame)
        }
        return (try out + stream.finish(), issues)
    }

    /// A red disc moving over a green and blue gradient.
    private func clip(_ count: Int) throws -> [VideoFrame] {
        try (0..<count).map { time in
            var pixels: [UInt8] = []
            for y in 0..<64 {
                for x in 0..<64 {
                    let isDisc = (x - 20 - time) * (x - 20 - time) + (y - 32) * (y - 32) < 200
                    pixels += isDisc ? [200, 40, 40] : [60, UInt8(90 + y), UInt8(90 + x)]
                }
            }
            return try VideoFrame(width: 64, height: 64, pixels: pixels)
        }
    }

    /// The mean squared difference of pixel values in 0...255.
    private func distance(_ a: VideoFrame, _ b: VideoFrame) -> Double {
        let squares = zip(a.pixels, b.pixels).map { pow(Double($0) - Double($1), 2) }
        return squares.reduce(0, +) / Double(max(1, squares.count))
    }
}

@Suite struct EditDistanceTests {
    @Test(
        arguments: [
            ("", "", 0), ("", "ab", 2), ("neon", "neon", 0), ("neon", "neom", 1),
            ("sepai", "sepia", 1),
            ("kitten", "sitting", 3), ("ca", "abc", 3), ("noise_scal", "noise_scale", 1),
        ]
    )
    func countsEdits(a: String, b: String, count: Int) {
        #expect(editDistance(a, b) == count && editDistance(b, a) == count)
    }
}
