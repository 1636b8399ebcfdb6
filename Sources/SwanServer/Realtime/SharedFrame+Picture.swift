import SwanMedia
import SwanPipelines

extension SharedFrame {
    /// A frame that arrived as a JPEG picture, which is decoded when a chunk needs it.
    ///
    /// - Parameters:
    ///   - captureTime: By the sender's clock, in microseconds.
    ///   - maxPixels: Larger pictures are refused by their header.
    init(sequence: UInt32, captureTime: UInt64, jpeg: [UInt8], maxPixels: Int) {
        self.init(sequence: sequence, captureTime: captureTime) {
            try jpeg.withUnsafeBytes { try JPEG.decode($0, maxPixels: maxPixels) }
        }
    }
}
