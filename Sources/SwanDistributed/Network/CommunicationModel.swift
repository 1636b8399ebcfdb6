package import SwanModels

/// How many bytes the ways of sharing a transformer move, and how long that takes.
///
/// Tokens T, width C, blocks L, parameters of the blocks P, N ranks, bfloat16. Ulysses sends queries,
/// keys, values and the output of each block's self-attention to where their heads are (Jacobs et al.
/// 2023, DeepSpeed-Ulysses); a ring passes keys and values around (Liu et al. 2023, Ring Attention).
package struct CommunicationModel: Sendable {
    /// One forward of a model.
    package struct Workload: Sendable {
        /// The model and the video.
        package let name: String
        /// The sizes of the transformer.
        package let config: WanConfig
        /// The number of tokens.
        package let tokens: Int

        /// Describes a forward.
        package init(name: String, config: WanConfig, tokens: Int) {
            (self.name, self.config, self.tokens) = (name, config, tokens)
        }

        /// The usual sizes of the published models; the last two are one chunk of a live stream.
        package static let usual = [
            Workload(name: "1.3B, 81 frames 480p", config: .wan1_3B, tokens: 32_760),
            Workload(name: "1.3B, 81 frames 720p", config: .wan1_3B, tokens: 75_600),
            Workload(name: "14B, 81 frames 480p", config: .wan14B, tokens: 32_760),
            Workload(name: "14B, 81 frames 720p", config: .wan14B, tokens: 75_600),
            Workload(name: "5B, 121 frames 720p", config: wan5B, tokens: 27_280),
            Workload(name: "1.3B, live chunk 480p", config: .wan1_3B, tokens: 1_560),
            Workload(name: "14B, live chunk 480p", config: .wan14B, tokens: 1_560),
        ]

        private static var wan5B: WanConfig {
            var config = WanConfig()
            (config.dim, config.ffnDim, config.heads, config.layers) = (3_072, 14_336, 24, 30)
            return config
        }

        /// The parameters of the blocks: self- and cross-attention and the feed-forward network.
        package var parameters: Double {
            let (c, f) = (Double(config.dim), Double(config.ffnDim))
            return Double(config.layers) * (8 * c * c + 2 * c * f)
        }

        /// The floating-point operations, two for a multiplication with an addition.
        package var operations: Double {
            let (t, c, f) = (Double(tokens), Double(config.dim), Double(config.ffnDim))
            let products = 2 * t * (6 * c * c + 2 * c * f)
            let attention = 4 * t * c * (t + Double(config.textLen))
            return Double(config.layers) * (products + attention)
        }
    }

    /// How ranks share a transformer.
    package enum Way: String, Sendable, CaseIterable, Encodable {
        /// Tokens divided, heads exchanged.
        case ulysses
        /// Tokens divided, keys and values passed around.
        case ring
        /// Weights in shards, gathered block by block.
        case sharded
        /// Blocks divided; the tokens go from stage to stage.
        case stages
    }

    private static let bytesPerNumber = 2.0

    /// The bytes that a rank sends in one forward over `ranks` ranks.
    package static func bytes(_ way: Way, _ work: Workload, ranks: Int) -> Double {
        guard ranks > 1 else { return 0 }
        return switch way {
        case .ulysses: divided(work, ranks: ranks, width: ranks).bytes
        case .ring: divided(work, ranks: ranks, width: 1).bytes
        case .sharded: bytesPerNumber * work.parameters * (1 - 1 / Double(ranks))
        case .stages: tokenBytes(work)
        }
    }

    /// The exchanges in one forward that a rank must wait for, one after the other.
    package static func exchanges(_ way: Way, _ work: Workload, ranks: Int) -> Double {
        guard ranks > 1 else { return 0 }
        return switch way {
        case .ulysses: divided(work, ranks: ranks, width: ranks).exchanges
        case .ring: divided(work, ranks: ranks, width: 1).exchanges
        case .sharded: Double(work.config.layers)
        case .stages: 1
        }
    }

    /// The bytes that a rank sends and the exchanges it waits for in one forward with its tokens
    /// divided as `SequenceParallel` does: `width` neighbours exchange heads, and a ring connects
    /// their groups where there are more ranks.
    package static func sequence(
        _ work: Workload,
        ranks: Int
    ) -> (width: Int, bytes: Double, exchanges: Double) {
        let width = SequenceParallel.width(ranks, headCount: work.config.heads)
        let (bytes, exchanges) = divided(work, ranks: ranks, width: width)
        return (width, bytes, exchanges)
    }

    /// The same with any number of neighbours that exchange heads: all for Ulysses, one for a ring.
    private static func divided(
        _ work: Workload,
        ranks: Int,
        width: Int
    ) -> (bytes: Double, exchanges: Double) {
        let (n, w, l) = (Double(ranks), Double(width), Double(work.config.layers))
        let heads = 4 * tokenBytes(work) / n * (1 - 1 / w) * l
        let ring = 2 * tokenBytes(work) / n * (n / w - 1) * l
        return (heads + ring, (width > 1 ? 2 * l : 0) + (n / w - 1) * l)
    }

    /// The bytes of all tokens between two blocks.
    private static func tokenBytes(_ work: Workload) -> Double {
        bytesPerNumber * Double(work.tokens) * Double(work.config.dim)
    }

    /// The bytes a second that a rank sends, and the seconds that an exchange takes at least.
    package let bandwidth: Double
    package let latency: Double
    /// The floating-point operations a second of one rank.
    package let speed: Double

    /// A model with measured figures.
    package init(bandwidth: Double, latency: Double, speed: Double) {
        self.bandwidth = bandwidth
        self.latency = latency
        self.speed = speed
    }

    /// The seconds that a rank spends on exchanges in one forward.
    package func seconds(_ way: Way, _ work: Workload, ranks: Int) -> Double {
        Self.bytes(way, work, ranks: ranks) / bandwidth
            + Self.exchanges(way, work, ranks: ranks) * latency
    }

    /// The same with tokens divided as `SequenceParallel` does: Ulysses as far as heads allow, and a
    /// ring of such groups.
    package func sequenceSeconds(_ work: Workload, ranks: Int) -> Double {
        let (_, bytes, exchanges) = Self.sequence(work, ranks: ranks)
        return bytes / bandwidth + exchanges * latency
    }

    /// The seconds that a rank computes in one forward.
    package func computing(_ work: Workload, ranks: Int) -> Double {
        work.operations / Double(ranks) / speed
    }
}
