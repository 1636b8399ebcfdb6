import Foundation
import SwanMedia
import SwanSystem

/// What the decoding process writes to its pipe: messages of a kind, a length, and that many bytes.
///
/// The process has read hostile data, so whatever arrives is checked as if it came from the network.
enum DecodeMessage {
    /// The kinds of message.
    enum Kind: UInt32 {
        /// `UploadInfo` as JSON. The first message.
        case info = 1
        /// The display time as 8 bytes, then red, green and blue of each pixel.
        case frame = 2
        /// The end of the video.
        case end = 3
        /// `Problem` as JSON, instead of any other message. The last one.
        case problem = 4
    }

    /// The header of a message.
    struct Head {
        /// The number of bytes of a header.
        static let count = 8
        /// The maximum number of bytes of a message in JSON.
        static let jsonLimit = 4_096

        let kind: Kind
        let length: Int

        init(_ kind: Kind, length: Int) {
            self.kind = kind
            self.length = length
        }

        /// Reads a header; nil if it is none.
        init?(_ bytes: [UInt8]) {
            guard bytes.count == Self.count, let kind = Kind(rawValue: Self.number(bytes[0..<4]))
            else { return nil }
            self.init(kind, length: Int(Self.number(bytes[4..<8])))
        }

        var bytes: [UInt8] {
            Self.bytes(kind.rawValue) + Self.bytes(UInt32(clamping: length))
        }

        private static func number(_ bytes: ArraySlice<UInt8>) -> UInt32 {
            bytes.reversed().reduce(0) { $0 << 8 | UInt32($1) }
        }

        private static func bytes(_ number: UInt32) -> [UInt8] {
            (0..<4).map { UInt8(truncatingIfNeeded: number >> (8 * $0)) }
        }
    }

    /// Why a file is not decoded.
    struct Problem: Codable {
        /// The kinds of problem.
        enum Kind: String, Codable {
            case unsupported, tooLarge, damaged, unconfined
        }

        let kind: Kind
        let message: String

        init(_ kind: Kind, _ message: String) {
            self.kind = kind
            self.message = message
        }

        init(_ error: SwanError) {
            // Messages begin with the name that the reader gave the file.
            let text = error.message.replacing("standard input: ", with: "")
            let kind: Kind =
                switch error.code {
                case .notAVideo, .forbiddenFormat, .noVideoStream, .unsupported: .unsupported
                case .tooLarge, .outOfMemory: .tooLarge
                default: .damaged
                }
            self.init(kind, "The file \(text.hasPrefix("is ") ? "" : "cannot be used: ")\(text)")
        }
    }
}

/// The properties of an uploaded picture or video.
struct UploadInfo: Codable, Sendable, Equatable {
    /// In pixels, upright.
    var width, height: Int
    /// Whether it is a picture.
    var isPicture = false
    /// The frame rate as a fraction.
    var rateNumerator = 1, rateDenominator = 1
    /// The width of a pixel divided by its height.
    var pixelAspect = 1.0
    /// An estimate; nil if unknown.
    var frames: Int?

    /// The frame rate.
    var frameRate: Rational { Rational(rateNumerator, rateDenominator) ?? .one }

    /// The bytes of a frame.
    var frameBytes: Int { 3 * width * height }

    /// Whether the numbers are within what a file may have.
    func isPlausible(_ limits: DecodeLimits) -> Bool {
        let sides = 1...FrameSizeLimit.side
        guard sides.contains(width), sides.contains(height) else { return false }
        let most = isPicture ? limits.picturePixels : limits.videoPixels
        return width * height <= most && Rational(rateNumerator, rateDenominator) != nil
            && pixelAspect.isFinite && (frames ?? 1) >= 0
    }
}

private enum FrameSizeLimit {
    static let side = 65_536
}
