package import Foundation
import SwanModels
import SwanSystem

/// What the ranks of a job found out about their network, and what it means for the models.
package struct NetworkReport: Sendable, Encodable {
    /// A rank.
    package struct Rank: Sendable, Encodable {
        let rank: Int
        let host: String
        let process: Int32
        let device: String
    }

    /// The way from one rank to another.
    package struct Link: Sendable, Encodable {
        package let from, to: Int
        package let latencyMicroseconds, gigabytesPerSecond: Double
    }

    /// An operation of all ranks.
    package struct Collective: Sendable, Encodable {
        package let name: String
        package let milliseconds: Double
    }

    /// What a model's forward would take.
    package struct Prediction: Sendable, Encodable {
        package let model: String
        package let tokens: Int
        package let computingSeconds: Double
        /// The seconds of exchanges, by the way of sharing.
        package let exchangeSeconds: [String: Double]
        /// What takes longer where tokens are divided.
        package let binds: String
        /// One rank's time by that of all, where tokens are divided and exchanges are not hidden.
        package let speedup: Double
    }

    package let ranks: [Rank]
    package let links: [Link]
    package let collectives: [Collective]
    /// The speed of the slowest rank while all compute.
    package let teraflopsPerRank: Double
    package let predictions: [Prediction]

    init(
        _ roster: Roster,
        links: [Link],
        collectives: [Collective],
        speed: Double
    ) {
        ranks = roster.entries.enumerated().map {
            Rank(rank: $0, host: $1.host, process: $1.process, device: $1.device)
        }
        self.links = links
        self.collectives = collectives
        teraflopsPerRank = speed / 1e12
        let model = CommunicationModel(
            bandwidth: (links.map(\.gigabytesPerSecond).min() ?? .infinity) * 1e9,
            latency: (links.map(\.latencyMicroseconds).max() ?? 0) / 1e6,
            speed: speed
        )
        let count = ranks.count
        predictions = CommunicationModel.Workload.usual.map {
            Self.prediction($0, model, ranks: count)
        }
    }

    private static func prediction(
        _ work: CommunicationModel.Workload,
        _ model: CommunicationModel,
        ranks: Int
    ) -> Prediction {
        let computing = model.computing(work, ranks: ranks)
        let exchange = model.sequenceSeconds(work, ranks: ranks)
        return Prediction(
            model: work.name,
            tokens: work.tokens,
            computingSeconds: computing,
            exchangeSeconds: Dictionary(
                uniqueKeysWithValues: CommunicationModel.Way.allCases.map {
                    ($0.rawValue, model.seconds($0, work, ranks: ranks))
                }
            ),
            binds: exchange > computing ? "network" : "computation",
            speedup: model.computing(work, ranks: 1) / (computing + exchange)
        )
    }

    private enum CodingKeys: String, CodingKey {
        case ranks, links, collectives, teraflopsPerRank = "teraflops_per_rank", predictions
    }

    /// The report as JSON.
    package func json() throws -> Data { try JSONText.data(self) }
}

extension NetworkReport.Link {
    private enum CodingKeys: String, CodingKey {
        case from, to, latencyMicroseconds = "latency_us", gigabytesPerSecond = "gigabytes_per_s"
    }
}

extension NetworkReport.Prediction {
    private enum CodingKeys: String, CodingKey {
        case model, tokens, computingSeconds = "computing_s", exchangeSeconds = "exchange_s"
        case binds, speedup
    }
}
